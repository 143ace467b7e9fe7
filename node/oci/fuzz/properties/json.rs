//! A second reader of JSON (RFC 8259), which shares nothing with the one that the registry uses: it keeps the order of
//! fields, and every one of those that are there twice.

/// What is nested deeper than this is not read a second time.
const DEEPEST: usize = 500;

/// A value. Numbers stay as they were written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// Why there is no value.
#[derive(Debug, PartialEq)]
pub(crate) enum Unread {
    /// It is no JSON.
    Malformed,
    /// It may be JSON, and is nested too deep for this reader.
    TooDeep,
}

impl Json {
    /// Writes it again, with a space wherever one may be.
    pub(crate) fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Number(digits) => out.push_str(digits),
            Self::Text(text) => quote(text, out),
            Self::List(entries) => {
                out.push_str("[ ");
                for (at, entry) in entries.iter().enumerate() {
                    out.push_str(if at == 0 { "" } else { " ,\n" });
                    entry.write(out);
                }
                out.push_str(" ]");
            }
            Self::Object(fields) => {
                out.push_str("{\t");
                for (at, (name, value)) in fields.iter().enumerate() {
                    out.push_str(if at == 0 { "" } else { " ,\r\n" });
                    quote(name, out);
                    out.push_str(" : ");
                    value.write(out);
                }
                out.push('}');
            }
        }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

/// Every character that may be escaped is.
fn quote(text: &str, out: &mut String) {
    out.push('"');
    for unit in text.encode_utf16() {
        out.push_str(&format!("\\u{unit:04x}"));
    }
    out.push('"');
}

/// Reads one value and nothing after it.
pub(crate) fn read(bytes: &[u8]) -> Result<Json, Unread> {
    let mut reader = Reader { bytes, at: 0 };
    let value = reader.value(0)?;
    reader.space();
    if reader.at == bytes.len() { Ok(value) } else { Err(Unread::Malformed) }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn take(&mut self) -> Result<u8, Unread> {
        let byte = self.peek().ok_or(Unread::Malformed)?;
        self.at += 1;
        Ok(byte)
    }

    fn word(&mut self, word: &str, value: Json) -> Result<Json, Unread> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return Err(Unread::Malformed);
        }
        self.at += word.len();
        Ok(value)
    }

    fn value(&mut self, depth: usize) -> Result<Json, Unread> {
        if depth > DEEPEST {
            return Err(Unread::TooDeep);
        }
        self.space();
        match self.peek() {
            Some(b'n') => self.word("null", Json::Null),
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(b'"') => self.text().map(Json::Text),
            Some(b'-' | b'0'..=b'9') => self.number().map(Json::Number),
            Some(b'[') => self.list(depth),
            Some(b'{') => self.object(depth),
            _ => Err(Unread::Malformed),
        }
    }

    fn list(&mut self, depth: usize) -> Result<Json, Unread> {
        self.at += 1;
        let mut entries = Vec::new();
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Json::List(entries));
        }
        loop {
            entries.push(self.value(depth + 1)?);
            self.space();
            match self.take()? {
                b',' => {}
                b']' => return Ok(Json::List(entries)),
                _ => return Err(Unread::Malformed),
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, Unread> {
        self.at += 1;
        let mut fields = Vec::new();
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Json::Object(fields));
        }
        loop {
            self.space();
            let name = self.text()?;
            self.space();
            if self.take()? != b':' {
                return Err(Unread::Malformed);
            }
            fields.push((name, self.value(depth + 1)?));
            self.space();
            match self.take()? {
                b',' => {}
                b'}' => return Ok(Json::Object(fields)),
                _ => return Err(Unread::Malformed),
            }
        }
    }

    fn digits(&mut self) -> Result<(), Unread> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(Unread::Malformed) }
    }

    fn number(&mut self) -> Result<String, Unread> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(String::from_utf8_lossy(&self.bytes[start..self.at]).into_owned())
    }

    fn text(&mut self) -> Result<String, Unread> {
        if self.take()? != b'"' {
            return Err(Unread::Malformed);
        }
        let (mut text, mut plain) = (String::new(), Vec::new());
        loop {
            let byte = self.take()?;
            if matches!(byte, b'"' | b'\\') {
                text.push_str(std::str::from_utf8(&plain).map_err(|_| Unread::Malformed)?);
                plain.clear();
            }
            match byte {
                b'"' => return Ok(text),
                b'\\' => text.push(self.escaped()?),
                0..0x20 => return Err(Unread::Malformed),
                _ => plain.push(byte),
            }
        }
    }

    /// A half of a surrogate pair without the other is what readers make of it: no character.
    fn escaped(&mut self) -> Result<char, Unread> {
        Ok(match self.take()? {
            quoted @ (b'"' | b'\\' | b'/') => char::from(quoted),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let high = self.unit()?;
                let before = self.at;
                if (0xd800..0xdc00).contains(&high) && self.bytes[self.at..].starts_with(b"\\u") {
                    self.at += 2;
                    let low = self.unit()?;
                    if (0xdc00..0xe000).contains(&low) {
                        let code = 0x10000 + (u32::from(high) - 0xd800) * 0x400 + u32::from(low) - 0xdc00;
                        return char::from_u32(code).ok_or(Unread::Malformed);
                    }
                    self.at = before;
                }
                char::from_u32(u32::from(high)).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            _ => return Err(Unread::Malformed),
        })
    }

    fn unit(&mut self) -> Result<u16, Unread> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = char::from(self.take()?).to_digit(16).ok_or(Unread::Malformed)?;
            unit = unit << 4 | u16::try_from(digit).map_err(|_| Unread::Malformed)?;
        }
        Ok(unit)
    }
}
