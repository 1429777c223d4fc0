//! Expressions: how they are written, and what they are worth.

use super::lexer::{Lexer, Token};
use super::parser::{Bad, eat, expect};
use super::types::{Expr, Length, MAX_DEPTH, Op, Type, TypeId, Types};

/// The deepest nesting of an expression.
const MAX_NESTING: usize = 32;

/// Binary operators by how strongly they bind, weakest first, as in C.
const LEVELS: [&[(&str, Op)]; 8] = [
    &[("||", Op::Or)],
    &[("&&", Op::And)],
    &[("|", Op::BitOr)],
    &[("&", Op::BitAnd)],
    &[("==", Op::Equal), ("!=", Op::NotEqual)],
    &[
        ("<=", Op::LessEqual),
        (">=", Op::GreaterEqual),
        ("<", Op::Less),
        (">", Op::Greater),
    ],
    &[("+", Op::Add), ("-", Op::Sub)],
    &[("*", Op::Mul), ("/", Op::Div)],
];

/// `argN`: zero is the result.
pub(super) fn arg(index: u8) -> Expr {
    if index == 0 {
        Expr::RetVal
    } else {
        Expr::Arg(index)
    }
}

pub(super) fn elt(index: u8) -> Expr {
    Expr::Elt(index)
}

pub(super) fn parse(lexer: &mut Lexer<'_>) -> Result<Expr, Bad> {
    binary(lexer, 0, 0)
}

fn binary(lexer: &mut Lexer<'_>, level: usize, nesting: usize) -> Result<Expr, Bad> {
    let Some(operators) = LEVELS.get(level) else {
        return unary(lexer, nesting);
    };
    let mut left = binary(lexer, level + 1, nesting)?;
    let mut chain = 0;
    while let Token::Punct(punct) = lexer.peek()
        && let Some((_, op)) = operators.iter().find(|(text, _)| *text == punct)
    {
        chain += 1;
        if chain > MAX_NESTING {
            return Err(format!("more than {MAX_NESTING} operators in a row"));
        }
        lexer.take()?;
        let right = binary(lexer, level + 1, nesting)?;
        left = Expr::Binary(*op, Box::new((left, right)));
    }
    Ok(left)
}

fn unary(lexer: &mut Lexer<'_>, nesting: usize) -> Result<Expr, Bad> {
    if nesting == MAX_NESTING {
        return Err(format!("an expression nested more than {MAX_NESTING} deep"));
    }
    match lexer.take()? {
        Token::Number(number) => Ok(Expr::Num(number)),
        Token::Name(name) => named(name, lexer, nesting),
        Token::Punct("(") => {
            let inner = binary(lexer, 0, nesting + 1)?;
            expect(lexer, ")")?;
            Ok(inner)
        }
        Token::Punct("*") => Ok(Expr::Deref(Box::new(unary(lexer, nesting + 1)?))),
        Token::Punct("!") => Ok(Expr::Not(Box::new(unary(lexer, nesting + 1)?))),
        Token::Punct("-") => Ok(match unary(lexer, nesting + 1)? {
            Expr::Num(number) => Expr::Num(number.wrapping_neg()),
            other => Expr::Binary(Op::Sub, Box::new((Expr::Num(0), other))),
        }),
        other => Err(format!("expected an expression, found {other}")),
    }
}

fn named(name: &str, lexer: &mut Lexer<'_>, nesting: usize) -> Result<Expr, Bad> {
    let numbered = |prefix: &str| {
        name.strip_prefix(prefix)
            .and_then(|digits| digits.parse::<u8>().ok())
    };
    let op = match name {
        "retval" => return Ok(Expr::RetVal),
        "min" => Op::Min,
        "max" => Op::Max,
        "zero" => return Err("`zero` is a length, not a value".into()),
        _ => {
            if let Some(index) = numbered("arg") {
                return Ok(arg(index));
            }
            return match numbered("elt") {
                Some(0) => Err("elements are counted from `elt1`".into()),
                Some(index) => Ok(elt(index)),
                None => Ok(Expr::Name(name.into())),
            };
        }
    };
    if !eat(lexer, "(")? {
        return Ok(Expr::Name(name.into()));
    }
    let left = binary(lexer, 0, nesting + 1)?;
    expect(lexer, ",")?;
    let right = binary(lexer, 0, nesting + 1)?;
    expect(lexer, ")")?;
    Ok(Expr::Binary(op, Box::new((left, right))))
}

/// Where the values of an expression come from.
pub(crate) trait Env {
    /// The value of parameter `index`, counted from one.
    fn arg(&self, index: u8) -> Option<i64>;
    /// The function's result.
    fn retval(&self) -> Option<i64>;
    /// The value of element `index` of the surrounding structure, counted from one.
    fn elt(&self, index: u8) -> Option<i64>;
    /// What the pointer parameter `index` points at.
    fn deref(&self, index: u8) -> Option<i64>;
}

impl Expr {
    /// What the expression is worth; `None` where a part of it has no value.
    pub(crate) fn eval(&self, env: &dyn Env) -> Option<i64> {
        match self {
            Self::Num(number) => Some(*number),
            Self::Arg(index) => env.arg(*index),
            Self::RetVal => env.retval(),
            Self::Elt(index) => env.elt(*index),
            Self::Deref(inner) => match **inner {
                Self::Arg(index) => env.deref(index),
                _ => None,
            },
            Self::Not(inner) => Some(i64::from(inner.eval(env)? == 0)),
            Self::Binary(op, operands) => op.apply(operands.0.eval(env), operands.1.eval(env)),
            Self::Name(_) => None,
        }
    }

    /// Whether the value depends on the function's result.
    pub(crate) fn uses_retval(&self) -> bool {
        match self {
            Self::RetVal => true,
            Self::Deref(inner) | Self::Not(inner) => inner.uses_retval(),
            Self::Binary(_, operands) => operands.0.uses_retval() || operands.1.uses_retval(),
            _ => false,
        }
    }

    /// Names found in `names` become what `make` gives for their number, counted from one.
    pub(super) fn resolve(&mut self, names: &[Option<&str>], make: fn(u8) -> Expr) {
        match self {
            Self::Name(name) => {
                let found = names.iter().position(|known| *known == Some(&**name));
                if let Some(number) = found.and_then(|index| u8::try_from(index + 1).ok()) {
                    *self = make(number);
                }
            }
            Self::Deref(inner) | Self::Not(inner) => inner.resolve(names, make),
            Self::Binary(_, operands) => {
                operands.0.resolve(names, make);
                operands.1.resolve(names, make);
            }
            Self::Num(_) | Self::Arg(_) | Self::RetVal | Self::Elt(_) => {}
        }
    }

    pub(super) fn all_named(&self) -> Result<(), Bad> {
        match self {
            Self::Name(name) => Err(format!(
                "`{}` is no parameter and no field here",
                name.escape_default()
            )),
            Self::Deref(inner) | Self::Not(inner) => inner.all_named(),
            Self::Binary(_, operands) => operands.0.all_named().and_then(|()| operands.1.all_named()),
            Self::Num(_) | Self::Arg(_) | Self::RetVal | Self::Elt(_) => Ok(()),
        }
    }
}

impl Op {
    fn apply(self, left: Option<i64>, right: Option<i64>) -> Option<i64> {
        let (Some(left), Some(right)) = (left, right) else {
            // At an entry `min(retval, 10)` has no value, but a capture may want what it can get.
            return None;
        };
        Some(match self {
            Self::Or => i64::from(left != 0 || right != 0),
            Self::And => i64::from(left != 0 && right != 0),
            Self::BitOr => left | right,
            Self::BitAnd => left & right,
            Self::Equal => i64::from(left == right),
            Self::NotEqual => i64::from(left != right),
            Self::Less => i64::from(left < right),
            Self::LessEqual => i64::from(left <= right),
            Self::Greater => i64::from(left > right),
            Self::GreaterEqual => i64::from(left >= right),
            Self::Add => left.wrapping_add(right),
            Self::Sub => left.wrapping_sub(right),
            Self::Mul => left.wrapping_mul(right),
            Self::Div => left.checked_div(right)?,
            Self::Min => left.min(right),
            Self::Max => left.max(right),
        })
    }
}

impl Types {
    /// Resolves names in the lengths of all arrays from the type number `first` on.
    pub(super) fn resolve(
        &mut self,
        first: usize,
        names: &[Option<&str>],
        make: fn(u8) -> Expr,
    ) -> Result<(), Bad> {
        if names.len() > usize::from(u8::MAX) && names.iter().any(Option::is_some) {
            return Err("more than 255 named fields".into());
        }
        for ty in self.since_mut(first) {
            if let Type::Array {
                len: Length {
                    count: Some(count), ..
                },
                ..
            } = ty
            {
                count.resolve(names, make);
            }
        }
        Ok(())
    }

    pub(super) fn all_named(&self, first: usize) -> Result<(), Bad> {
        self.since(first).iter().try_for_each(|ty| match ty {
            Type::Array {
                len: Length {
                    count: Some(count), ..
                },
                ..
            } => count.all_named(),
            _ => Ok(()),
        })
    }

    /// Whether showing this type through pointers depends on the function's result.
    pub(crate) fn mentions_retval(&self, mut id: TypeId) -> bool {
        for _ in 0..MAX_DEPTH {
            match self.get(id) {
                Type::Pointer(of) | Type::Lens(_, of) => id = *of,
                Type::Array {
                    len: Length {
                        count: Some(count), ..
                    },
                    ..
                } => return count.uses_retval(),
                _ => return false,
            }
        }
        false
    }
}
