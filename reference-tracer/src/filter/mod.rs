//! ltrace's filter language: which calls are traced.
//!
//! A filter is a chain of rules `[+-][SYMBOL][@LIBRARY]` (ltrace(1), "FILTER EXPRESSIONS"). Each function runs through all
//! rules of a chain and the last one that matches decides; of several filters it is enough that one selects.
//!
//! Use: parse each `-e` with [`Filter::parse`], collect them in a [`FilterSet`], and ask [`FilterSet::in_library`] once per
//! object. What it answers is cheap to ask for each function of that object.
//!
//! ```
//! use reference_tracer::filter::{Filter, FilterSet, LibraryNames};
//!
//! let filters = FilterSet::new(vec![Filter::parse("malloc+free-@libc.so*")?]);
//! let program = LibraryNames::main(None, "/usr/bin/prog");
//! let here = filters.in_library(program).expect("something of it may be selected");
//! assert!(here.selects("malloc", &[]) && !here.selects("puts", &[]));
//! assert!(!filters.could_match_library(LibraryNames::library(Some("libc.so.6"), "/lib/libc.so.6")));
//! # Ok::<(), reference_tracer::filter::FilterError>(())
//! ```
//!
//! Where ltrace 0.7 and this differ, on purpose:
//! - A sign inside brackets, in a regular expression or in a library's file name (`@ld-linux-x86-64.so.2`, `@libstdc++.so.6`) does
//!   not start a rule; a backslash quotes it anywhere.
//! - `/^m.*/` and `^m*` work: ltrace anchors what is anchored already.
//! - A comma separates rules as `+` does, as it did in ltrace 0.5.
//! - A rule that is empty after its sign (`malloc-`) is an error, and so is all that ltrace says it will ignore.
//! - A library is also known by its file name where its SONAME is another.

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

#[cfg(test)]
mod tests;
