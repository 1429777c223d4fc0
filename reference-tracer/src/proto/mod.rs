//! What functions take and return: the prototype language, its parser, and the library of
//! prototypes that are looked up by library and function. `prototypes/LANGUAGE.md` is the grammar.

mod builtin;
mod embedded;
pub(crate) mod expr;
mod files;
mod lexer;
mod library;
mod made;
mod parser;
mod places;
mod plan;
mod searched;
mod tables;
mod types;

pub use files::Problem;
pub use library::Prototypes;
pub use places::{Owner, Place, places};
pub use plan::{Plan, PlannedParam};
pub use types::{
    Direction, Expr, Failure, Field, Int, Length, Lens, NameGroup, Names, NamesId, Op, Pack, Param,
    Prototype, Type, TypeId, Types, Width,
};
