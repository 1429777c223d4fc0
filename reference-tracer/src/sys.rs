//! The calls that are unsafe to make.
