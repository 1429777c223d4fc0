//! ltrace's filter language: which calls are traced.
//!
//! A filter is a chain of rules `[+-][SYMBOL][@LIBRARY]` (ltrace(1), "FILTER EXPRESSIONS"). Each function runs through all
//! rules of a chain and the last one that matches decides; of several filters it is enough that one selects.
//!
//! Use: parse each `-e` with [`Filter::parse`], collect them in a [`FilterSet`], and ask [`FilterSet::in_library`] once per
//! object. What it answers is cheap to ask for each function of that object.

mod bracket;
mod chain;
mod error;
mod glob;
mod pattern;
mod regexp;
mod set;
mod suggest;

pub use chain::Filter;
pub use error::FilterError;
pub use pattern::NamePattern;
pub use set::{FilterSet, InLibrary, LibraryNames, Missing, Unmatched};
pub use suggest::nearest;
