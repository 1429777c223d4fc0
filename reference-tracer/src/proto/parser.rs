//! The grammar of one line; `prototypes/LANGUAGE.md` has it.

use super::builtin;
use super::expr;
use super::lexer::{Lexer, Token};
use super::types::{
    Direction, Expr, Failure, Field, Int, Length, Lens, NameGroup, Names, Pack, Param, Prototype, Type,
    TypeId, Types, Width,
};

/// What was expected, and what was found instead.
pub(super) type Bad = String;

/// Where the names of types are looked up.
pub(super) trait Scope {
    fn typedef(&mut self, name: &str, types: &mut Types) -> Option<TypeId>;
}

/// One item of a prototype file.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Item {
    Prototype(Prototype),
    /// `None`: declared, to be defined later.
    Typedef(Box<str>, Option<TypeId>),
    Import(Box<str>),
    Alias {
        new: Box<str>,
        old: Box<str>,
    },
}

/// The deepest nesting within one line.
const MAX_NESTING: usize = 32;
/// The most parameters, fields or names in one list.
const MAX_LIST: usize = 4096;
/// The most parameters of a function (C, "Translation limits": 127).
const MAX_PARAMS: usize = 127;

/// The item on a line; `None` for a line without one.
pub(super) fn parse_line(line: &str, types: &mut Types, scope: &mut dyn Scope) -> Result<Option<Item>, Bad> {
    let mut parser = Parser {
        lexer: Lexer::new(line)?,
        types,
        scope,
        nesting: 0,
    };
    if parser.lexer.peek() == Token::End {
        return Ok(None);
    }
    let item = parser.item()?;
    match parser.lexer.peek() {
        Token::End => Ok(Some(item)),
        other => Err(format!("expected `;` or the end of the line, found {other}")),
    }
}

pub(super) struct Parser<'a, 't> {
    pub(super) lexer: Lexer<'a>,
    types: &'t mut Types,
    scope: &'t mut dyn Scope,
    nesting: usize,
}

impl<'a> Parser<'a, '_> {
    fn item(&mut self) -> Result<Item, Bad> {
        let before = self.lexer.clone();
        if let Token::Name(word) = self.lexer.take()? {
            match (word, self.lexer.peek()) {
                ("typedef", _) => return self.typedef(),
                ("alias", Token::Name(_)) => return self.alias(),
                ("import", Token::Text(_)) => return self.import(),
                ("function", Token::Name(_)) => return self.prototype(),
                _ => {}
            }
        }
        self.lexer = before;
        self.prototype()
    }

    fn import(&mut self) -> Result<Item, Bad> {
        match self.lexer.take()? {
            Token::Text(file) => Ok(Item::Import(file.into())),
            other => Err(format!("expected a file name in quotes, found {other}")),
        }
    }

    fn alias(&mut self) -> Result<Item, Bad> {
        let new = self.name("the new name")?.into();
        self.expect("=")?;
        Ok(Item::Alias {
            new,
            old: self.name("the name of a function")?.into(),
        })
    }

    fn typedef(&mut self) -> Result<Item, Bad> {
        let name: Box<str> = self.name("the name of the new type")?.into();
        self.expect("=")?;
        let mut after = self.lexer.clone();
        let word = after.take()?;
        if matches!(word, Token::Name("struct" | "union")) && after.peek() == Token::End {
            self.lexer = after;
            return Ok(Item::Typedef(name, None));
        }
        let ty = self.lens()?;
        Ok(Item::Typedef(name, Some(ty)))
    }

    fn prototype(&mut self) -> Result<Item, Bad> {
        let first_type = self.types.len();
        let ret = self.lens()?;
        let name = self.name("the name of a function")?.into();
        self.expect("(")?;
        let (params, ellipsis) = self.params()?;
        let mut prototype = Prototype {
            name,
            ret,
            params,
            ellipsis,
            noreturn: false,
            failure: None,
            errno: false,
        };
        while let Token::Name(word) = self.lexer.peek() {
            self.attribute(word, &mut prototype)?;
        }
        self.resolve_params(first_type, &mut prototype)?;
        Ok(Item::Prototype(prototype))
    }

    fn attribute(&mut self, word: &str, prototype: &mut Prototype) -> Result<(), Bad> {
        self.lexer.take()?;
        match word {
            "noreturn" => prototype.noreturn = true,
            "errno" | "fails" => {
                self.expect("(")?;
                let failure = match self.expr()? {
                    Expr::Num(number) => Failure::Returns(number),
                    other => Failure::When(other),
                };
                self.expect(")")?;
                prototype.failure = Some(failure);
                prototype.errno = word == "errno";
            }
            other => {
                return Err(format!(
                    "expected `;`, `errno`, `fails` or `noreturn`, found `{other}`"
                ));
            }
        }
        Ok(())
    }

    fn params(&mut self) -> Result<(Vec<Param>, bool), Bad> {
        let mut params: Vec<Param> = Vec::new();
        if self.eat(")")? {
            return Ok((params, false));
        }
        loop {
            if self.eat("...")? {
                self.expect(")")?;
                return Ok((params, true));
            }
            params.push(self.param()?);
            if params.len() > MAX_PARAMS {
                return Err(format!("more than {MAX_PARAMS} parameters"));
            }
            if !self.comma_or(")")? {
                break;
            }
        }
        let only_void =
            matches!(&params[..], [one] if one.name.is_none() && *self.types.get(one.ty) == Type::Void);
        if only_void {
            params.clear();
        }
        Ok((params, false))
    }

    fn param(&mut self) -> Result<Param, Bad> {
        let direction = if self.eat("+")? {
            Direction::Out
        } else if self.lexer.peek() == Token::Name("inout") {
            self.lexer.take()?;
            Direction::InOut
        } else {
            Direction::In
        };
        let (ty, pack) = match self.pack()? {
            Some(pack) => (self.string_of(pack.wide, Length::ZERO), Some(pack)),
            None => (self.lens()?, None),
        };
        let mut name = None;
        let mut when = None;
        if let Token::Name(word) = self.lexer.peek()
            && word != "if"
        {
            self.lexer.take()?;
            name = Some(word.into());
        }
        if self.lexer.peek() == Token::Name("if") {
            self.lexer.take()?;
            self.expect("(")?;
            when = Some(self.expr()?);
            self.expect(")")?;
        }
        Ok(Param {
            name,
            ty,
            direction,
            pack,
            when,
        })
    }

    fn pack(&mut self) -> Result<Option<Pack>, Bad> {
        let Token::Name(word) = self.lexer.peek() else {
            return Ok(None);
        };
        let Some(pack) = builtin::pack(word) else {
            return Ok(None);
        };
        if self.scope.typedef(word, self.types).is_some() {
            return Ok(None);
        }
        self.lexer.take()?;
        Ok(Some(pack))
    }

    /// A type with its stars.
    fn lens(&mut self) -> Result<TypeId, Bad> {
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

    fn string_of(&mut self, wide: bool, len: Length) -> TypeId {
        let width = Width::Bytes(if wide { 4 } else { 1 });
        let of = self.types.add(Type::Int(Int {
            width,
            signed: true,
            character: true,
        }));
        let array = self.types.add(Type::Array { of, len });
        let pointer = self.types.add(Type::Pointer(array));
        self.types.add(Type::Lens(Lens::Str, pointer))
    }

    fn names(&mut self, flags: bool) -> Result<TypeId, Bad> {
        let of = if self.eat("[")? {
            let of = self.lens()?;
            self.expect("]")?;
            of
        } else {
            self.types.add(Type::Int(Int {
                width: Width::Bytes(4),
                signed: true,
                character: false,
            }))
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

    fn expr(&mut self) -> Result<Expr, Bad> {
        expr::parse(&mut self.lexer)
    }

    /// Names of parameters in expressions become their numbers.
    fn resolve_params(&mut self, first_type: usize, prototype: &mut Prototype) -> Result<(), Bad> {
        let names: Vec<_> = prototype.params.iter().map(|param| param.name.clone()).collect();
        let names: Vec<_> = names.iter().map(Option::as_deref).collect();
        self.types.resolve(first_type, &names, expr::arg)?;
        self.types.all_named(first_type)?;
        let mut finish = |expr: &mut Expr| {
            expr.resolve(&names, expr::arg);
            expr.all_named()
        };
        prototype
            .params
            .iter_mut()
            .filter_map(|param| param.when.as_mut())
            .try_for_each(&mut finish)?;
        match &mut prototype.failure {
            Some(Failure::When(expr)) => finish(expr),
            _ => Ok(()),
        }
    }

    fn name(&mut self, what: &str) -> Result<&'a str, Bad> {
        match self.lexer.take()? {
            Token::Name(name) => Ok(name),
            other => Err(format!("expected {what}, found {other}")),
        }
    }

    fn eat(&mut self, punct: &'static str) -> Result<bool, Bad> {
        eat(&mut self.lexer, punct)
    }

    fn expect(&mut self, punct: &'static str) -> Result<(), Bad> {
        expect(&mut self.lexer, punct)
    }

    /// Takes a comma and says `true`, or takes the end of the list and says `false`.
    fn comma_or(&mut self, end: &'static str) -> Result<bool, Bad> {
        if self.eat(",")? {
            return Ok(true);
        }
        if self.eat(end)? {
            return Ok(false);
        }
        Err(format!("expected `,` or `{end}`, found {}", self.lexer.peek()))
    }
}

fn bounded(len: usize) -> Result<(), Bad> {
    if len > MAX_LIST {
        Err(format!("a list of more than {MAX_LIST} items"))
    } else {
        Ok(())
    }
}

pub(super) fn eat(lexer: &mut Lexer<'_>, punct: &'static str) -> Result<bool, Bad> {
    let found = lexer.peek() == Token::Punct(punct);
    if found {
        lexer.take()?;
    }
    Ok(found)
}

pub(super) fn expect(lexer: &mut Lexer<'_>, punct: &'static str) -> Result<(), Bad> {
    if eat(lexer, punct)? {
        Ok(())
    } else {
        Err(format!("expected `{punct}`, found {}", lexer.peek()))
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
        _ => return None,
    })
}
