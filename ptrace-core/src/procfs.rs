//! Facts from /proc.
