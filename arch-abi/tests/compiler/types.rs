//! Random types, and values of them.

use arch_abi::{Abi, Arch, CType, Float};

/// xorshift64*: the same signatures on every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

fn scalar(random: &mut Random, arch: Arch) -> CType {
    match random.below(12) {
        0 => CType::Int(1),
        1 => CType::Int(2),
        2 | 3 => CType::Int(4),
        4 => CType::Int(8),
        5 if arch == Arch::X86_64 => CType::Int(16),
        6 => CType::Float(Float::Single),
        7 => CType::Float(Float::Double),
        8 => CType::Float(Float::Long),
        9 => CType::Complex(
            [Float::Single, Float::Double, Float::Long][usize::try_from(random.below(3)).unwrap()],
        ),
        _ => CType::Pointer,
    }
}

fn any(random: &mut Random, arch: Arch, depth: u64) -> CType {
    if depth >= 3 || random.below(5) < 3 {
        return scalar(random, arch);
    }
    let members = (0..=random.below(3))
        .map(|_| member(random, arch, depth + 1))
        .collect();
    if random.below(4) == 0 {
        CType::Union(members)
    } else {
        CType::Struct(members)
    }
}

/// A type that the shim's buffers hold.
pub(crate) fn small(random: &mut Random, arch: Arch) -> CType {
    loop {
        let ty = any(random, arch, 0);
        if arch.abi().layout_of(&ty).size <= 1024 {
            return ty;
        }
    }
}

fn member(random: &mut Random, arch: Arch, depth: u64) -> CType {
    if random.below(4) == 0 {
        let count = u32::try_from(1 + random.below(3)).unwrap();
        return CType::Array(Box::new(any(random, arch, depth + 1)), count);
    }
    any(random, arch, depth)
}

/// The bytes that count of a value of this type: offset and length each.
pub(crate) fn counted(ty: &CType, at: u64, abi: &dyn Abi, out: &mut Vec<(u64, u64)>) {
    let part = |float| {
        if float == Float::Long {
            10
        } else {
            abi.layout_of(&CType::Float(float)).size
        }
    };
    match ty {
        CType::Void => {}
        CType::Int(_) | CType::Pointer => out.push((at, abi.layout_of(ty).size)),
        CType::Float(float) => out.push((at, part(*float))),
        CType::Complex(float) => {
            let size = abi.layout_of(&CType::Float(*float)).size;
            out.extend([(at, part(*float)), (at + size, part(*float))]);
        }
        CType::Array(of, count) => {
            let size = abi.layout_of(of).size;
            (0..u64::from(*count)).for_each(|index| counted(of, at + index * size, abi, out));
        }
        CType::Struct(members) => {
            let mut end = at;
            for member in members {
                let layout = abi.layout_of(member);
                let start = end.next_multiple_of(layout.align);
                counted(member, start, abi, out);
                end = start + layout.size;
            }
        }
        // The first member is set; the others overlay it.
        CType::Union(members) => counted(&members[0], at, abi, out),
    }
}

/// The value's bytes: noise where they count, but floating-point numbers that survive any copy.
pub(crate) fn value(ty: &CType, abi: &dyn Abi, random: &mut Random) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(abi.layout_of(ty).size).unwrap()];
    fill(ty, 0, abi, random, &mut bytes);
    bytes
}

fn fill(ty: &CType, at: usize, abi: &dyn Abi, random: &mut Random, bytes: &mut [u8]) {
    let size = |ty: &CType| usize::try_from(abi.layout_of(ty).size).unwrap();
    match ty {
        CType::Void => {}
        CType::Int(_) | CType::Pointer => {
            bytes[at..at + size(ty)].fill_with(|| u8::try_from(random.below(256)).unwrap());
        }
        CType::Float(float) => {
            let small = u16::try_from(random.below(1000)).unwrap();
            match float {
                Float::Single => bytes[at..at + 4].copy_from_slice(&f32::from(small).to_le_bytes()),
                Float::Double => bytes[at..at + 8].copy_from_slice(&f64::from(small).to_le_bytes()),
                Float::Long => bytes[at..at + 10].copy_from_slice(&extended(random.next())),
            }
        }
        CType::Complex(float) => {
            let half = CType::Float(*float);
            fill(&half, at, abi, random, bytes);
            fill(&half, at + size(&half), abi, random, bytes);
        }
        CType::Array(of, count) => {
            (0..usize::try_from(*count).unwrap())
                .for_each(|index| fill(of, at + index * size(of), abi, random, bytes));
        }
        CType::Struct(members) => {
            let mut end = at;
            for member in members {
                let align = usize::try_from(abi.layout_of(member).align).unwrap();
                let start = end.next_multiple_of(align);
                fill(member, start, abi, random, bytes);
                end = start + size(member);
            }
        }
        CType::Union(members) => fill(&members[0], at, abi, random, bytes),
    }
}

/// An x87 extended number: the integer bit set, an exponent near one.
fn extended(noise: u64) -> [u8; 10] {
    let mut bytes = [0; 10];
    bytes[..8].copy_from_slice(&(noise | 1 << 63).to_le_bytes());
    bytes[8..].copy_from_slice(&0x3fff_u16.to_le_bytes());
    bytes
}
