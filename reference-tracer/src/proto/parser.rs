//! The grammar of one line; `prototypes/LANGUAGE.md` has it.

mod lens;

use super::builtin;
use super::expr;
use super::lexer::{Lexer, Token};
use super::types::{Direction, Expr, Failure, Length, Pack, Param, Prototype, Type, TypeId, Types};

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
