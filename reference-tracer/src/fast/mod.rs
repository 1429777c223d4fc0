//! The fast engine: calls are recorded inside the process.

pub mod fill;
pub mod wants;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
