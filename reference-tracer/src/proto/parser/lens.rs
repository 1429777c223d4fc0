//! The grammar of types: `prototypes/LANGUAGE.md`, "Types" and "Lenses".

use super::super::builtin;
use super::super::expr;
use super::super::lexer::Token;
use super::super::types::{Field, Length, Lens, NameGroup, Names, Type, TypeId, Width};
use super::{Bad, MAX_NESTING, Parser, bounded};

impl<'a> Parser<'a, '_> {
    /// A type with its stars.
    pub(super) fn lens(&mut self) -> Result<TypeId, Bad> {
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            return Err(format!("types nested more than {MAX_NESTING} deep"));
        }
        while self.lexer.peek() == Token::Name("const") {
            self.lexer.take()?;
        }
        let mut ty = self.primary()?;
        let mut stars = 0;
        while self.eat("*")? {
            stars += 1;
            if stars > MAX_NESTING {
                return Err(format!("more than {MAX_NESTING} `*`"));
            }
            ty = self.types.add(Type::Pointer(ty));
        }
        self.nesting -= 1;
        Ok(ty)
    }

    fn primary(&mut self) -> Result<TypeId, Bad> {
        let word = self.name("a type")?;
        if let Some(ty) = self.scope.typedef(word, self.types) {
            return Ok(ty);
        }
        let next = self.lexer.peek();
        if next == Token::Punct("(")
            && let Some(lens) = lens_named(word)
        {
            return self.lens_of(lens);
        }
        match word {
            "struct" => self.aggregate(Type::Struct),
            "union" => self.aggregate(Type::Union),
            "array" => self.array(),
            "enum" | "flags" => self.names(word == "flags"),
            "complex" => self.complex(),
            "string" | "wstring" => self.string(word == "wstring"),
            word if builtin::is_c_word(word) => self.c_words(word),
            word => self.simple(word),
        }
    }

    fn simple(&mut self, word: &str) -> Result<TypeId, Bad> {
        if let Some(ty) = builtin::named(word, self.types) {
            return Ok(ty);
        }
        if let Some(index) = word
            .strip_prefix("string")
            .and_then(|digits| digits.parse::<u8>().ok())
        {
            // ltrace.conf(5) has no word on these, but ltrace ends them at a NUL.
            let len = Length {
                terminated: true,
                count: Some(expr::arg(index)),
            };
            return Ok(self.string_of(false, len));
        }
        if builtin::pack(word).is_some() {
            return Err(format!("`{word}` is a parameter, not a type"));
        }
        Err(format!("unknown type `{}`", word.escape_default()))
    }

    fn c_words(&mut self, first: &'a str) -> Result<TypeId, Bad> {
        let mut words = vec![first];
        while let Token::Name(word) = self.lexer.peek()
            && builtin::is_c_word(word)
            && words.len() < 5
        {
            words.push(word);
            self.lexer.take()?;
        }
        let ty = builtin::in_c_words(&words).ok_or_else(|| format!("`{}` is no type", words.join(" ")))?;
        Ok(self.types.add(ty))
    }

    fn lens_of(&mut self, lens: Lens) -> Result<TypeId, Bad> {
        self.expect("(")?;
        let of = self.lens()?;
        self.expect(")")?;
        Ok(self.types.add(Type::Lens(lens, of)))
    }

    fn complex(&mut self) -> Result<TypeId, Bad> {
        self.expect("(")?;
        let of = self.lens()?;
        self.expect(")")?;
        match self.types.get(of) {
            Type::Float(float) => {
                let ty = Type::Complex(*float);
                Ok(self.types.add(ty))
            }
            _ => Err("expected a floating-point type in `complex(…)`".into()),
        }
    }

    fn aggregate(&mut self, make: fn(Vec<Field>) -> Type) -> Result<TypeId, Bad> {
        let first_type = self.types.len();
        self.expect("(")?;
        let mut fields = Vec::new();
        if !self.eat(")")? {
            loop {
                let ty = self.lens()?;
                if *self.types.get(ty) == Type::Void {
                    return Err("a member can't be `void`".into());
                }
                let mut name = None;
                if let Token::Name(word) = self.lexer.peek() {
                    self.lexer.take()?;
                    name = Some(word.into());
                }
                fields.push(Field { name, ty });
                bounded(fields.len())?;
                if !self.comma_or(")")? {
                    break;
                }
            }
        }
        let names = fields.iter().map(|field| field.name.as_deref());
        self.types
            .resolve(first_type, &names.collect::<Vec<_>>(), expr::elt)?;
        Ok(self.types.add(make(fields)))
    }

    fn array(&mut self) -> Result<TypeId, Bad> {
        self.expect("(")?;
        let of = self.lens()?;
        self.expect(",")?;
        let len = self.length()?;
        self.expect(")")?;
        Ok(self.types.add(Type::Array { of, len }))
    }

    /// `string` has been taken: `string`, `string[LENGTH]` or `string(LENS)`.
    fn string(&mut self, wide: bool) -> Result<TypeId, Bad> {
        if !wide && self.lexer.peek() == Token::Punct("(") {
            return self.lens_of(Lens::Str);
        }
        if !self.eat("[")? {
            return Ok(self.string_of(wide, Length::ZERO));
        }
        let len = self.length()?;
        self.expect("]")?;
        Ok(self.string_of(wide, len))
    }

    pub(super) fn string_of(&mut self, wide: bool, len: Length) -> TypeId {
        self.types.string(if wide { 4 } else { 1 }, len)
    }

    fn names(&mut self, flags: bool) -> Result<TypeId, Bad> {
        let of = if self.eat("[")? {
            let of = self.lens()?;
            self.expect("]")?;
            of
        } else {
            self.types.add(Type::int(Width::Bytes(4), true))
        };
        self.expect("(")?;
        let names = if flags { self.flags()? } else { self.enumeration()? };
        let id = self.types.add_names(names);
        let lens = if flags { Lens::Flags(id) } else { Lens::Enum(id) };
        Ok(self.types.add(Type::Lens(lens, of)))
    }

    fn enumeration(&mut self) -> Result<Names, Bad> {
        let mut names = Vec::new();
        let mut next = 0_i64;
        loop {
            let name = self.name("a name in `enum(…)`")?.into();
            if self.eat("=")? {
                next = self.number()?;
            }
            names.push((next.cast_unsigned(), name));
            bounded(names.len())?;
            next = next.wrapping_add(1);
            if !self.comma_or(")")? {
                break;
            }
        }
        Ok(Names {
            groups: vec![NameGroup {
                mask: u64::MAX,
                names,
            }],
            flags: Vec::new(),
        })
    }

    fn flags(&mut self) -> Result<Names, Bad> {
        let mut names = Names::default();
        loop {
            let name = self.name("a flag")?;
            if name == "mask" && self.eat("(")? {
                names.groups.push(self.mask()?);
            } else {
                self.expect("=")?;
                names.flags.push((self.number()?.cast_unsigned(), name.into()));
            }
            bounded(names.flags.len() + names.groups.len())?;
            if !self.comma_or(")")? {
                break;
            }
        }
        Ok(names)
    }

    fn mask(&mut self) -> Result<NameGroup, Bad> {
        let mask = self.number()?.cast_unsigned();
        let mut names = Vec::new();
        while self.comma_or(")")? {
            let name = self.name("a name in `mask(…)`")?.into();
            self.expect("=")?;
            names.push((self.number()?.cast_unsigned(), name));
            bounded(names.len())?;
        }
        Ok(NameGroup { mask, names })
    }

    fn number(&mut self) -> Result<i64, Bad> {
        let negative = self.eat("-")?;
        match self.lexer.take()? {
            Token::Number(number) => Ok(if negative { number.wrapping_neg() } else { number }),
            other => Err(format!("expected a number, found {other}")),
        }
    }

    fn length(&mut self) -> Result<Length, Bad> {
        if self.lexer.peek() != Token::Name("zero") {
            return Ok(Length {
                terminated: false,
                count: Some(self.expr()?),
            });
        }
        self.lexer.take()?;
        if !self.eat("(")? {
            return Ok(Length::ZERO);
        }
        let count = self.expr()?;
        self.expect(")")?;
        Ok(Length {
            terminated: true,
            count: Some(count),
        })
    }
}

fn lens_named(word: &str) -> Option<Lens> {
    Some(match word {
        "bin" => Lens::Bin,
        "oct" | "octal" => Lens::Oct,
        "hex" => Lens::Hex,
        "hide" => Lens::Hide,
        "bool" => Lens::Bool,
        "bitvec" => Lens::BitVec,
        "socket_address" => Lens::SockAddr,
        _ => return None,
    })
}
