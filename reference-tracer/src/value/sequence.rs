//! What is made of elements: arrays, bit vectors and strings.

use arch_abi::Addr;

use super::decode::{Contents, Inherited, MAX_VALUE, Span, Walk};
use super::emit::{Shape, Value};
use super::frame::Elements;
use crate::proto::{Int, Length, Type, TypeId, Width};

impl Walk<'_, '_> {
    pub(super) fn array(&mut self, of: TypeId, len: &Length, contents: Contents, inherited: Inherited<'_>) {
        let Some(size) = self
            .layout(of)
            .map(|layout| layout.size)
            .filter(|&size| size > 0 && size <= MAX_VALUE)
        else {
            return self.unreadable(contents);
        };
        let Some(count) = self.count(len, inherited.elements) else {
            return self.unreadable(contents);
        };
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        // One element more is looked at, to see whether the array goes on.
        let wanted = count.min(self.limits.array.saturating_add(1));
        let span = match contents {
            Contents::Inline(span) => Span {
                len: span.len.min(wanted.saturating_mul(size)),
                ..span
            },
            Contents::At(at) => self.read_some(at, wanted.saturating_mul(size).min(64 * 1024)),
        };
        let mut whole = span.len / size;
        if whole == 0 && count > 0 && wanted > 0 && matches!(contents, Contents::At(_)) {
            return self.unreadable(contents);
        }
        let element = |index: usize| Span {
            start: span.start + index * size,
            len: size,
        };
        let mut ended = whole == count;
        if len.terminated
            && let Some(end) =
                (0..whole).find(|&index| self.bytes(element(index)).iter().all(|&byte| byte == 0))
        {
            (whole, ended) = (end, true);
        }
        let shown = whole.min(self.limits.array);
        self.emit.open(Shape::Array);
        for index in 0..shown {
            self.emit.part(None);
            self.value(of, element(index), inherited);
        }
        self.emit.close(Shape::Array, !(ended && shown == whole));
    }

    pub(super) fn unreadable(&mut self, contents: Contents) {
        match contents {
            Contents::At(at) => self.emit.value(Value::Pointer(at)),
            Contents::Inline(_) => self.emit.value(Value::Elided),
        }
    }

    /// The most elements that a length allows; `None` where it has no value.
    pub(super) fn count(&self, len: &Length, elements: Option<&Elements>) -> Option<usize> {
        self.frame.with(elements, self.memory).count(len)
    }

    pub(super) fn bit_vector(&mut self, of: TypeId, span: Span, inherited: Inherited<'_>) {
        let bare = self.types().bare(of);
        let Type::Pointer(target) = self.types().get(bare) else {
            // One copy: the emitter borrows this while the walk is borrowed too.
            let mut text = std::mem::take(&mut self.scratch.text);
            text.clear();
            text.extend_from_slice(self.bytes(span));
            self.emit.value(Value::BitVec(&text));
            self.scratch.text = text;
            return;
        };
        let at = Addr::new(self.word(span));
        let size = self
            .layout_in(*target, inherited.elements)
            .map(|layout| layout.size);
        let target_span = size
            .filter(|&size| at.get() != 0 && size <= MAX_VALUE)
            .and_then(|size| self.read(at, size));
        match target_span {
            Some(read) => self.bit_vector(*target, read, inherited),
            None => self.emit.value(Value::Pointer(at)),
        }
    }

    /// The value of a pointer, an array of characters or a pointer to one, as text.
    pub(super) fn string(&mut self, of: TypeId, span: Span, inherited: Inherited<'_>) {
        let (inner, contents) = match self.types().get(self.types().bare(of)) {
            Type::Pointer(inner) => (*inner, Contents::At(Addr::new(self.word(span)))),
            _ => (of, Contents::Inline(span)),
        };
        if let Contents::At(at) = contents
            && at.get() == 0
        {
            return self.emit.value(Value::Pointer(at));
        }
        let (element, len) = match self.types().get(self.types().bare(inner)) {
            Type::Array { of, len } => (*of, len),
            _ => (inner, &Length::ZERO),
        };
        let width = match self.types().get(self.types().bare(element)) {
            Type::Int(Int {
                width: Width::Bytes(4),
                ..
            }) => 4,
            Type::Int(_) => 1,
            _ => return self.value(of, span, inherited), // not a string: as what it is
        };
        match self.count(len, inherited.elements) {
            Some(count) => self.text(contents, width, count, len.terminated),
            None => self.unreadable(contents),
        }
    }

    /// A string of at most `count` characters of `width` bytes.
    pub(super) fn text(&mut self, contents: Contents, width: usize, count: usize, terminated: bool) {
        let limit = self.limits.string.min(16 * 1024);
        let wanted = count.min(limit.saturating_add(1)).saturating_mul(width);
        let span = match contents {
            Contents::Inline(span) => Span {
                len: span.len.min(wanted),
                ..span
            },
            Contents::At(at) => self.read_string(at, wanted, width, terminated),
        };
        let mut whole = span.len / width;
        if whole == 0 && wanted > 0 && matches!(contents, Contents::At(_)) {
            return self.unreadable(contents);
        }
        let mut ended = whole.saturating_mul(width) == wanted && whole == count;
        let character = |index: usize| Span {
            start: span.start + index * width,
            len: width,
        };
        if terminated
            && let Some(end) =
                (0..whole).find(|&index| self.bytes(character(index)).iter().all(|&byte| byte == 0))
        {
            (whole, ended) = (end, true);
        }
        let shown = whole.min(limit);
        let cut = !(ended && shown == whole);
        let bytes = &self.scratch.bytes[span.start..span.start + shown * width];
        self.emit.value(if width == 1 {
            Value::Str(bytes, cut)
        } else {
            Value::WideStr(bytes, cut)
        });
    }

    /// Reads a string page by page, so that it is not read past its end into a page that is not
    /// there.
    fn read_string(&mut self, at: Addr, wanted: usize, width: usize, terminated: bool) -> Span {
        let start = self.scratch.bytes.len();
        let mut len = 0;
        while len < wanted {
            let next = at.wrapping_add(len as u64);
            let step = (wanted - len).min(super::capture::to_page_end(next));
            let got = self.read_some(next, step);
            len += got.len;
            let ended = terminated && width == 1 && self.bytes(got).contains(&0);
            if got.len < step || ended {
                break;
            }
        }
        Span { start, len }
    }
}
