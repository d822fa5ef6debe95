//! From a stream of bytes to the JSON objects in it: an array, JSON lines, or objects one after
//! another, in memory for one object.
//!
//! Owns finding where one ends and the next starts. What is in them is `encode`'s.

use serde_json::{Deserializer, value::RawValue};

/// The longest object that is read: well beyond what any worker takes.
const LONGEST: usize = 4 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What was found, and the line it starts in, from 1.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A JSON object, as it was written.
    Object(u64, String),
    /// Something else, and what is wrong with it.
    Wrong(u64, String),
}

/// Finds objects in bytes that come piece by piece.
pub(super) struct Splitter {
    buffer: Vec<u8>,
    start: usize,
    line: u64,
    place: Place,
    ended: bool,
}

/// Where in the text the next byte is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before anything.
    Start,
    /// Between objects.
    Between,
    /// In an array, before an element.
    Before,
    /// In an array, after an element.
    After,
    /// In something broken, until a line begins with `{`.
    Lost,
    /// Where nothing more can be found.
    Over,
}

/// A step: something found, nothing yet (look again), or no use in looking again before more bytes came.
enum Step {
    Found(Found),
    Again,
    More,
}

impl Splitter {
    pub(super) fn new() -> Self {
        Self { buffer: Vec::new(), start: 0, line: 1, place: Place::Start, ended: false }
    }

    /// Takes more bytes.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// Says that no more bytes come.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// The next thing found; none until more bytes came, or for good after the end.
    pub(super) fn next(&mut self) -> Option<Found> {
        loop {
            match self.step() {
                Step::Found(found) => return Some(found),
                Step::Again => {}
                Step::More => return None,
            }
        }
    }

    fn step(&mut self) -> Step {
        match self.place {
            Place::Over => return self.rest_is_over(),
            Place::Lost => return self.find_line(),
            Place::Start => {
                if !self.ended && self.unread().len() < BYTE_ORDER_MARK.len() {
                    return Step::More;
                }
                if self.unread().starts_with(BYTE_ORDER_MARK) {
                    self.start += BYTE_ORDER_MARK.len();
                }
                self.place = Place::Between;
            }
            Place::Between | Place::Before | Place::After => {}
        }
        self.skip_space();
        match (self.place, self.unread().first()) {
            (Place::Between, None) => Step::More,
            (_, None) if self.ended => self.give_up("is an array without its end"),
            (_, None) => Step::More,
            (Place::Before | Place::After, Some(b']')) => self.go(Place::Between),
            (Place::Between, Some(b'[')) | (Place::After, Some(b',')) => self.go(Place::Before),
            (Place::After, Some(_)) => {
                self.give_up("is no comma or ] after an element; the rest of the file is not read")
            }
            _ => self.value(),
        }
    }

    fn unread(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Moves on by one byte that is no newline.
    fn go(&mut self, place: Place) -> Step {
        self.start += 1;
        self.place = place;
        Step::Again
    }

    fn consume(&mut self, count: usize) {
        let newlines = self.unread()[..count].split(|byte| *byte == b'\n').count() - 1;
        self.line += newlines as u64;
        self.start += count;
    }

    fn skip_space(&mut self) {
        let space =
            self.unread().iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')).count();
        self.consume(space);
    }

    fn give_up(&mut self, what: &str) -> Step {
        self.place = Place::Over;
        Step::Found(Found::Wrong(self.line, what.to_owned()))
    }

    fn rest_is_over(&mut self) -> Step {
        self.start = self.buffer.len();
        Step::More
    }

    /// One JSON value.
    fn value(&mut self) -> Step {
        let mut values = Deserializer::from_slice(&self.buffer[self.start..]).into_iter::<&RawValue>();
        match values.next() {
            Some(Ok(value)) => {
                let (text, length) = (value.get().to_owned(), values.byte_offset());
                let closed = text.ends_with(['}', ']', '"']);
                // A number or a word may go on in the next piece.
                if !closed && !self.ended && length == self.unread().len() && length <= LONGEST {
                    return Step::More;
                }
                self.whole(text, length)
            }
            Some(Err(error)) if error.is_eof() && !self.ended && self.unread().len() <= LONGEST => Step::More,
            Some(Err(error)) if error.is_eof() && !self.ended => self.broken("is longer than 4 MiB"),
            Some(Err(error)) if error.is_eof() => self.broken("ends in the middle"),
            Some(Err(_)) => self.broken("is not JSON"),
            None => Step::More,
        }
    }

    fn whole(&mut self, text: String, length: usize) -> Step {
        let line = self.line;
        self.consume(length);
        if self.place == Place::Before {
            self.place = Place::After;
        }
        Step::Found(if text.starts_with('{') {
            Found::Object(line, text)
        } else {
            Found::Wrong(line, "is not a JSON object".to_owned())
        })
    }

    fn broken(&mut self, what: &str) -> Step {
        if self.place == Place::Before {
            return self.give_up(&format!("{what}; the rest of the array is not read"));
        }
        self.place = Place::Lost;
        Step::Found(Found::Wrong(self.line, what.to_owned()))
    }

    /// Looks for a line that begins with `{`, which is where JSON lines go on after a broken one.
    fn find_line(&mut self) -> Step {
        if let Some(at) = self.unread().windows(2).position(|pair| pair == b"\n{") {
            self.consume(at + 1);
            self.place = Place::Between;
            return Step::Again;
        }
        // A newline at the very end may be the one.
        let kept = usize::from(!self.ended && self.unread().last() == Some(&b'\n'));
        self.consume(self.unread().len() - kept);
        Step::More
    }
}

#[cfg(test)]
mod tests {
    use super::{Found, LONGEST, Splitter};
    use proptest::prelude::{ProptestConfig, prop, proptest};

    /// What is found when the bytes come in pieces of a size.
    fn split(text: &[u8], size: usize) -> Vec<Found> {
        let mut splitter = Splitter::new();
        let mut found = Vec::new();
        for piece in text.chunks(size) {
            splitter.feed(piece);
            found.extend(std::iter::from_fn(|| splitter.next()));
        }
        splitter.end();
        found.extend(std::iter::from_fn(|| splitter.next()));
        found
    }

    fn object(line: u64, text: &str) -> Found {
        Found::Object(line, text.to_owned())
    }

    fn wrong(line: u64, what: &str) -> Found {
        Found::Wrong(line, what.to_owned())
    }

    fn check(text: &str, expected: &[Found]) {
        for size in [1, 2, 3, 7, 4096] {
            assert_eq!(split(text.as_bytes(), size), expected, "in pieces of {size}: {text}");
        }
    }

    #[test]
    fn objects_in_every_arrangement() {
        check("", &[]);
        check(" \n ", &[]);
        check("{\"a\":1}\n{\"b\":\"}\\\"\"}\n", &[object(1, "{\"a\":1}"), object(2, "{\"b\":\"}\\\"\"}")]);
        check("{}{} {}", &[object(1, "{}"), object(1, "{}"), object(1, "{}")]);
        check("[\n{\"a\":1},\n {\"a\": [2]}\n]\n", &[object(2, "{\"a\":1}"), object(3, "{\"a\": [2]}")]);
        check("{\n  \"a\": 1\n}\n{\n}", &[object(1, "{\n  \"a\": 1\n}"), object(4, "{\n}")]);
        check("[]\n[{}]", &[object(2, "{}")]);
        check("\u{feff}{}", &[object(1, "{}")]);
        check("{\"a\":\"Zoë\"}\r\n", &[object(1, "{\"a\":\"Zoë\"}")]);
    }

    #[test]
    fn a_broken_line_costs_itself_only() {
        check("{\"a\": 1\n{\"b\":2}\n", &[wrong(1, "is not JSON"), object(2, "{\"b\":2}")]);
        check(
            "{}\nnonsense\n\n{\"b\":2}",
            &[object(1, "{}"), wrong(2, "is not JSON"), object(4, "{\"b\":2}")],
        );
        check("{\"a\":\n  oops\n}\n{}", &[wrong(1, "is not JSON"), object(4, "{}")]);
        check("{}\n{\"a\":", &[object(1, "{}"), wrong(2, "ends in the middle")]);
        check("\"text\"\n{}", &[wrong(1, "is not a JSON object"), object(2, "{}")]);
    }

    #[test]
    fn a_broken_array_ends_the_file() {
        check(
            "[{}, 1 2]",
            &[
                object(1, "{}"),
                wrong(1, "is not a JSON object"),
                wrong(1, "is no comma or ] after an element; the rest of the file is not read"),
            ],
        );
        check(
            "[{},\n{\"a\" 1}\n]\n{}",
            &[object(1, "{}"), wrong(2, "is not JSON; the rest of the array is not read")],
        );
        check("[{}\n", &[object(1, "{}"), wrong(2, "is an array without its end")]);
    }

    #[test]
    fn bytes_that_are_no_text_are_no_json() {
        assert_eq!(split(b"{\"a\":\"\xff\"}\n{}", 4096), [wrong(1, "is not JSON"), object(2, "{}")]);
    }

    #[test]
    fn memory_is_bounded() {
        let mut splitter = Splitter::new();
        let piece = vec![b'x'; 65536];
        splitter.feed(b"{\"a\":\"");
        let mut found = Vec::new();
        for _ in 0..2 * LONGEST / 65536 {
            splitter.feed(&piece);
            found.extend(splitter.next());
            assert!(splitter.buffer.len() <= LONGEST + 2 * 65536);
        }
        assert_eq!(found, [wrong(1, "is longer than 4 MiB")]);
        splitter.feed(b"\"}\n{}");
        assert_eq!(splitter.next(), Some(object(2, "{}")));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn pieces_make_no_difference(text in prop::collection::vec("[\\[\\]{}\",:\\\\a1n \n]{0,6}", 0..8), size in 1usize..9) {
            let text = text.concat();
            assert_eq!(split(text.as_bytes(), size), split(text.as_bytes(), 4096));
        }
    }
}
