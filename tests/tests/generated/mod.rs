//! Generated C programs: functions of random signatures that print what they got.

use std::fmt::Write as _;

/// xorshift64*: the same programs on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("below a usize")
    }
}

/// An ABI.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Machine {
    X86_64,
    I386,
}

/// A scalar type: its names in C and in the prototype language, and the function that prints it.
struct Scalar {
    c: &'static str,
    conf: &'static str,
    print: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Signed(u32),
    Unsigned(u32),
    Bool,
    Float(&'static str),
    Complex(&'static str),
    Wide,
    Address,
    Text,
}

const fn scalar(c: &'static str, conf: &'static str, print: &'static str, kind: Kind) -> Scalar {
    Scalar { c, conf, print, kind }
}

static SCALARS: [Scalar; 20] = [
    scalar("int8_t", "int8_t", "put_signed", Kind::Signed(8)),
    scalar("int16_t", "short", "put_signed", Kind::Signed(16)),
    scalar("int", "int", "put_signed", Kind::Signed(32)),
    scalar("long", "long", "put_signed", Kind::Signed(32)),
    scalar("int64_t", "int64_t", "put_signed", Kind::Signed(64)),
    scalar("uint8_t", "uint8_t", "put_unsigned", Kind::Unsigned(8)),
    scalar("uint16_t", "ushort", "put_unsigned", Kind::Unsigned(16)),
    scalar("unsigned", "uint", "put_unsigned", Kind::Unsigned(32)),
    scalar("unsigned long", "ulong", "put_unsigned", Kind::Unsigned(32)),
    scalar("uint64_t", "uint64_t", "put_unsigned", Kind::Unsigned(64)),
    scalar("_Bool", "bool(uint8_t)", "put_bool", Kind::Bool),
    scalar("float", "float", "put_double", Kind::Float("f")),
    scalar("double", "double", "put_double", Kind::Float("")),
    scalar("long double", "long double", "put_long_double", Kind::Float("L")),
    scalar(
        "_Complex float",
        "complex(float)",
        "put_complex",
        Kind::Complex("f"),
    ),
    scalar(
        "_Complex double",
        "complex(double)",
        "put_complex",
        Kind::Complex(""),
    ),
    scalar("void *", "addr", "put_address", Kind::Address),
    scalar("const char *", "string", "put_text", Kind::Text),
    // The last two are not on every machine, or too large for what is below.
    scalar(
        "_Complex long double",
        "complex(long double)",
        "put_complex_long",
        Kind::Complex("L"),
    ),
    scalar("__int128", "__int128", "put_wide", Kind::Wide),
];

/// A C type.
#[derive(Clone)]
enum Type {
    Scalar(usize),
    Array(Box<Type>, usize),
    /// The number of its tag, and its members.
    Struct(usize, Vec<Type>),
}

/// The printing functions, in the words of the tracer's text.
const PRINTING: &str = r#"
static void put_signed(long long v) { printf("%lld", v); }
static void put_unsigned(unsigned long long v) { printf("%llu", v); }
static void put_bool(_Bool v) { printf(v ? "true" : "false"); }
static void put_double(double v) { printf("%f", v); }
static void put_long_double(long double v) { printf("%Lf", v); }
static void put_complex(_Complex double v) { printf("{ %f, %f }", __real__ v, __imag__ v); }
static void put_complex_long(_Complex long double v) { printf("{ %Lf, %Lf }", __real__ v, __imag__ v); }
static void put_address(void *v) { if (v) printf("0x%lx", (unsigned long)v); else printf("nil"); }
static void put_text(const char *v) { printf("\"%s\"", v); }
#ifdef __SIZEOF_INT128__
static void put_wide(__int128 v)
{
    char digits[48], *at = digits + sizeof digits;
    unsigned __int128 rest = v < 0 ? -(unsigned __int128)v : v;
    *--at = 0;
    do { *--at = '0' + (int)(rest % 10); rest /= 10; } while (rest);
    printf("%s%s", v < 0 ? "-" : "", at);
}
#endif
"#;

/// A program's sources and its prototype file.
pub(crate) struct Program {
    pub(crate) header: String,
    pub(crate) callee: String,
    pub(crate) caller: String,
    /// One line a function, in order.
    pub(crate) prototypes: String,
    machine: Machine,
    random: Random,
    tags: usize,
}

impl Program {
    /// A program of so many functions `fun_N`, which `main` calls in order.
    pub(crate) fn new(machine: Machine, seed: u64, functions: usize) -> Self {
        let includes = "#include <stdarg.h>\n#include <stdint.h>\n#include <stdio.h>\n";
        let mut program = Self {
            header: includes.into(),
            callee: format!("#include \"types.h\"\n{PRINTING}"),
            caller: "#include \"types.h\"\nint main(void)\n{\n".into(),
            prototypes: String::new(),
            machine,
            random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            tags: 0,
        };
        for number in 0..functions {
            if number % 10 == 9 {
                program.variadic(number);
            } else {
                program.function(number);
            }
        }
        program.caller.push_str("return 0;\n}\n");
        program
    }

    fn scalar(&mut self) -> usize {
        let end = if self.machine == Machine::I386 { 19 } else { 20 };
        self.random.below(end)
    }

    fn any(&mut self, depth: usize) -> Type {
        if depth >= 3 || self.random.below(5) < 3 {
            return Type::Scalar(self.scalar());
        }
        let members: Vec<_> = (0..=self.random.below(3))
            .map(|_| self.member(depth + 1))
            .collect();
        self.tags += 1;
        let ty = Type::Struct(self.tags, members.clone());
        let mut text = String::new();
        for (index, member) in members.iter().enumerate() {
            write!(text, " {};", declared(member, &format!("m{index}"))).expect("a String");
        }
        writeln!(self.header, "struct t{} {{{text} }};", self.tags).expect("a String");
        ty
    }

    fn member(&mut self, depth: usize) -> Type {
        if self.random.below(4) == 0 {
            let len = 1 + self.random.below(3);
            return Type::Array(Box::new(self.any(depth + 1)), len);
        }
        self.any(depth)
    }

    fn function(&mut self, number: usize) {
        let returns = if self.random.below(10) == 0 {
            None
        } else {
            Some(self.any(0))
        };
        let params: Vec<Type> = (0..self.random.below(10)).map(|_| self.any(0)).collect();
        let list: Vec<_> = params
            .iter()
            .enumerate()
            .map(|(index, ty)| declared(ty, &format!("p{index}")))
            .collect();
        let list = if list.is_empty() {
            "void".into()
        } else {
            list.join(", ")
        };
        let head = match &returns {
            Some(ty) => declared(ty, &format!("fun_{number}({list})")),
            None => format!("void fun_{number}({list})"),
        };
        writeln!(self.header, "{head};").expect("a String");
        let mut body = format!("printf(\"fun_{number}(\");");
        for (index, ty) in params.iter().enumerate() {
            if index > 0 {
                body.push_str(" printf(\", \");");
            }
            print(ty, &format!("p{index}"), &mut body);
        }
        body.push_str(" printf(\") = \");");
        match &returns {
            Some(ty) => {
                let value = self.literal(ty);
                write!(body, " {} = {value};", declared(ty, "r")).expect("a String");
                print(ty, "r", &mut body);
                body.push_str(" printf(\"\\n\"); return r;");
            }
            None => body.push_str(" printf(\"<void>\\n\");"),
        }
        writeln!(self.callee, "{head} {{ {body} }}").expect("a String");
        let args: Vec<_> = params.iter().map(|ty| self.argument(ty)).collect();
        writeln!(self.caller, "fun_{number}({});", args.join(", ")).expect("a String");
        let params: Vec<_> = params.iter().map(described).collect();
        let returns = returns.as_ref().map_or("void".into(), described);
        writeln!(self.prototypes, "{returns} fun_{number}({});", params.join(", ")).expect("a String");
    }

    /// `int fun_N(…, const char *format, ...)`.
    fn variadic(&mut self, number: usize) {
        /// Conversions, the types that they take, and the scalars that print them.
        const CONVERSIONS: [(&str, &str, usize); 9] = [
            ("%d", "int", 2),
            ("%ld", "long", 3),
            ("%lld", "long long", 4),
            ("%u", "unsigned", 7),
            ("%lu", "unsigned long", 8),
            ("%llu", "unsigned long long", 9),
            ("%f", "double", 12),
            ("%Lf", "long double", 13),
            ("%s", "const char *", 17),
        ];
        let named: Vec<Type> = (0..self.random.below(4)).map(|_| self.any(1)).collect();
        let rest: Vec<_> = (0..self.random.below(10))
            .map(|_| CONVERSIONS[self.random.below(CONVERSIONS.len())])
            .collect();
        let format: Vec<_> = rest.iter().map(|(conversion, ..)| *conversion).collect();
        let format = format!("a {}", format.join(" "));
        let mut list: Vec<_> = named
            .iter()
            .enumerate()
            .map(|(index, ty)| declared(ty, &format!("p{index}")))
            .collect();
        list.push("const char *format, ...".into());
        let head = format!("int fun_{number}({})", list.join(", "));
        writeln!(self.header, "{head};").expect("a String");
        let mut body = format!("va_list rest; va_start(rest, format); printf(\"fun_{number}(\");");
        for (index, ty) in named.iter().enumerate() {
            print(ty, &format!("p{index}"), &mut body);
            body.push_str(" printf(\", \");");
        }
        body.push_str(" put_text(format);");
        for (_, c, scalar) in &rest {
            write!(
                body,
                " printf(\", \"); {}(va_arg(rest, {c}));",
                SCALARS[*scalar].print
            )
            .expect("a String");
        }
        let value = self.literal(&Type::Scalar(2));
        write!(
            body,
            " va_end(rest); printf(\") = %d\\n\", {value}); return {value};"
        )
        .expect("a String");
        writeln!(self.callee, "{head} {{ {body} }}").expect("a String");
        let mut args: Vec<_> = named.iter().map(|ty| self.argument(ty)).collect();
        args.push(format!("\"{format}\""));
        for (_, c, scalar) in &rest {
            let value = self.literal(&Type::Scalar(*scalar));
            args.push(format!("({c}){value}"));
        }
        writeln!(self.caller, "fun_{number}({});", args.join(", ")).expect("a String");
        let named: Vec<_> = named.iter().map(|ty| described(ty) + ", ").collect();
        writeln!(self.prototypes, "int fun_{number}({}format);", named.concat()).expect("a String");
    }

    fn argument(&mut self, ty: &Type) -> String {
        let value = self.literal(ty);
        match ty {
            Type::Struct(tag, _) => format!("(struct t{tag}){value}"),
            Type::Scalar(index) => format!("({}){value}", SCALARS[*index].c),
            Type::Array(..) => value,
        }
    }

    /// A value in C's words.
    fn literal(&mut self, ty: &Type) -> String {
        match ty {
            Type::Scalar(index) => self.scalar_literal(SCALARS[*index].kind),
            Type::Array(of, len) => {
                let parts: Vec<_> = (0..*len).map(|_| self.literal(of)).collect();
                format!("{{ {} }}", parts.join(", "))
            }
            Type::Struct(_, members) => {
                let parts: Vec<_> = members.iter().map(|member| self.literal(member)).collect();
                format!("{{ {} }}", parts.join(", "))
            }
        }
    }

    fn scalar_literal(&mut self, kind: Kind) -> String {
        let bits = self.random.next();
        // Quarters are exact in every format.
        let quarter = |bits: u64| {
            let value = i64::try_from(bits % 4_000_000).expect("small") - 2_000_000;
            format!(
                "{}{}.{:02}",
                if value < 0 { "-" } else { "" },
                value.abs() / 4,
                value.abs() % 4 * 25
            )
        };
        match kind {
            Kind::Signed(width) => {
                let value = bits.cast_signed() >> (64 - width);
                // The most negative number has no literal.
                format!("{}LL", value.max(-i64::MAX))
            }
            Kind::Unsigned(width) => format!("{}ULL", bits >> (64 - width)),
            Kind::Bool => (bits % 2).to_string(),
            Kind::Float(suffix) => format!("{}{suffix}", quarter(bits)),
            Kind::Complex(suffix) => {
                let (real, imaginary) = (quarter(bits), quarter(self.random.next()));
                format!("__builtin_complex({real}{suffix}, {imaginary}{suffix})")
            }
            Kind::Wide => format!(
                "((__int128){}LL * {}LL)",
                bits.cast_signed() >> 1,
                self.random.next() >> 2
            ),
            Kind::Address if bits.is_multiple_of(8) => "(void *)0".into(),
            Kind::Address => format!("(void *){}UL", bits & 0xffff_ffff),
            Kind::Text => format!("\"text {}\"", bits % 1_000_000),
        }
    }
}

/// C's declaration of `name`.
fn declared(ty: &Type, name: &str) -> String {
    match ty {
        Type::Scalar(index) => format!("{} {name}", SCALARS[*index].c),
        Type::Array(of, len) => declared(of, &format!("{name}[{len}]")),
        Type::Struct(tag, _) => format!("struct t{tag} {name}"),
    }
}

/// The type in the prototype language.
fn described(ty: &Type) -> String {
    match ty {
        Type::Scalar(index) => SCALARS[*index].conf.into(),
        Type::Array(of, len) => format!("array({}, {len})", described(of)),
        Type::Struct(_, members) => {
            let members: Vec<_> = members.iter().map(described).collect();
            format!("struct({})", members.join(", "))
        }
    }
}

/// C statements that print `value`.
fn print(ty: &Type, value: &str, out: &mut String) {
    let parts: Vec<_> = match ty {
        Type::Scalar(index) => {
            write!(out, " {}({value});", SCALARS[*index].print).expect("a String");
            return;
        }
        Type::Array(of, len) => (0..*len)
            .map(|index| (&**of, format!("{value}[{index}]")))
            .collect(),
        Type::Struct(_, members) => members
            .iter()
            .enumerate()
            .map(|(index, member)| (member, format!("{value}.m{index}")))
            .collect(),
    };
    let (open, close) = if matches!(ty, Type::Array(..)) {
        ("[ ", " ]")
    } else {
        ("{ ", " }")
    };
    write!(out, " printf(\"{open}\");").expect("a String");
    for (index, (part, value)) in parts.iter().enumerate() {
        if index > 0 {
            out.push_str(" printf(\", \");");
        }
        print(part, value, out);
    }
    write!(out, " printf(\"{close}\");").expect("a String");
}
