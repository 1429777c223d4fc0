//! Where an object's functions begin: what is kept of them when the object's bytes are let go.

use arch_abi::FileAddr;

use crate::error::Error;
use crate::functions::rank;
use crate::object::Object;
use crate::symbol::Symbol;
use crate::symbol_table::{SymbolTable, is_defined_function};

/// The starts of an object's functions, without their names: some 16 bytes for each symbol, and no bytes of the object.
///
/// [`Functions`](crate::Functions) has all that there is to know, and takes long to make: it looks at every name. This is for one who
/// asks for a few names at a time.
#[derive(Clone, Debug, Default)]
pub struct FunctionIndex {
    /// By address; with the number of a symbol of the dynamic table or, behind all of those, of `.symtab`.
    starts: Vec<(FileAddr, u32)>,
    /// How many numbers are those of dynamic symbols.
    dynamic: u32,
}

impl FunctionIndex {
    /// Whether a function begins at `addr`.
    #[must_use]
    pub fn is_start(&self, addr: FileAddr) -> bool {
        self.starts
            .binary_search_by_key(&addr, |&(start, _)| start)
            .is_ok()
    }

    /// The public name of the function whose code `addr` lies in, and where that begins: as [`Functions::containing`] and
    /// [`Function::public`] tell it. `object` must be the one that the index was made of; of another one it finds what it finds.
    ///
    /// [`Functions::containing`]: crate::Functions::containing
    /// [`Function::public`]: crate::Function::public
    #[must_use]
    pub fn containing<'data>(&self, object: &Object<'data>, addr: FileAddr) -> Option<Symbol<'data>> {
        let after = self.starts.partition_point(|&(start, _)| start <= addr);
        let (start, _) = *self.starts.get(after.checked_sub(1)?)?;
        let first = self.starts.partition_point(|&(at, _)| at < start);
        let dynamic = object.dynamic_symbols().ok()?;
        let full = SymbolTable::full(object);
        let symbols = || {
            self.starts[first..after].iter().filter_map(|&(_, number)| {
                let of_full = number.checked_sub(self.dynamic);
                let (table, index) = of_full.map_or((&dynamic, number), |index| (&full, index));
                table.get(usize::try_from(index).ok()?)
            })
        };
        let size = symbols().map(|symbol| symbol.size).max()?;
        let covered = size == 0 || addr.offset_from(start)? < size;
        symbols().filter(|_| covered).min_by_key(rank)
    }
}

impl Object<'_> {
    /// Where the functions of [`functions`](Self::functions) begin.
    ///
    /// # Errors
    /// The dynamic symbol table cannot be read.
    pub fn function_index(&self) -> Result<FunctionIndex, Error> {
        let number = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        let dynamic = self.dynamic_symbols()?;
        let mut index = FunctionIndex {
            dynamic: number(dynamic.len()),
            ..FunctionIndex::default()
        };
        for (table, before) in [(dynamic, 0), (SymbolTable::full(self), index.dynamic)] {
            let function = |at: usize| {
                let sym = table.raw(at).filter(is_defined_function)?;
                let addr = FileAddr::new(sym.st_value);
                let named = || table.name(at).is_some_and(|name| !name.is_empty());
                let number = u32::try_from(at).ok()?.checked_add(before)?;
                (self.is_code(addr) && named()).then_some((addr, number))
            };
            index.starts.extend((1..table.len()).filter_map(function));
        }
        index.starts.sort_unstable();
        Ok(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What it tells of each function of a real object, at its ends and between, is what the whole list tells.
    #[test]
    fn it_tells_what_the_list_of_functions_tells() {
        let path = std::env::current_exe().expect("this program");
        let bytes = std::fs::read(path).expect("its file");
        let object = Object::parse(&bytes).expect("an object");
        let functions = object.functions().expect("its functions");
        let index = object.function_index().expect("its functions");
        assert!(functions.len() > 1000, "{} functions", functions.len());
        let names = |addr: FileAddr| {
            let function = functions.containing(addr);
            (
                function.map(|function| (function.addr(), function.public().name)),
                index
                    .containing(&object, addr)
                    .map(|symbol| (symbol.addr, symbol.name)),
            )
        };
        for function in functions.iter() {
            let start = function.addr();
            let end = start.wrapping_add(function.size());
            assert!(index.is_start(start), "{start}");
            let around = [
                start.wrapping_sub(1),
                start,
                start.wrapping_add(1),
                end.wrapping_sub(1),
                end,
            ];
            for addr in around {
                let (expected, told) = names(addr);
                assert_eq!(told, expected, "{addr}");
                assert_eq!(index.is_start(addr), functions.at(addr).is_some(), "{addr}");
            }
        }
        assert_eq!(names(FileAddr::new(0)), (None, None));
        // A function of unknown size, as `_fini` may be, reaches to the end.
        let (expected, told) = names(FileAddr::new(u64::MAX));
        assert_eq!(told, expected);
    }

    /// An index that belongs to another object does no harm.
    #[test]
    fn of_another_object_it_finds_what_it_finds() {
        let path = std::env::current_exe().expect("this program");
        let bytes = std::fs::read(path).expect("its file");
        let object = Object::parse(&bytes).expect("an object");
        let index = FunctionIndex {
            starts: vec![
                (FileAddr::new(0), 0),
                (FileAddr::new(8), 7),
                (FileAddr::new(8), u32::MAX),
                (FileAddr::new(9), u32::MAX),
            ],
            dynamic: 5,
        };
        for addr in 0..12 {
            let _ = index.containing(&object, FileAddr::new(addr));
        }
        assert!(index.containing(&object, FileAddr::new(9)).is_none());
    }
}
