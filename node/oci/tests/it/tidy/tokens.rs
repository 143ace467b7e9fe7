//! Sources as a flat list of tokens: what is inside macros counts too, which a parsed file does not show.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// One token with its line. A group is its two delimiters and what lies between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    /// Its text.
    pub(crate) text: String,
    /// Its line, from 1.
    pub(crate) line: usize,
}

/// The tokens of a source, in order.
pub(crate) fn of_source(path: &str, text: &str) -> Vec<Token> {
    // A shebang or a byte-order mark is no token.
    let text = text.trim_start_matches('\u{feff}');
    let stream = text.parse().unwrap_or_else(|error| panic!("{path}: {error}"));
    of_stream(stream)
}

/// The tokens of a macro's input, in order.
pub(crate) fn of_stream(stream: TokenStream) -> Vec<Token> {
    let mut tokens = Vec::new();
    flatten(stream, &mut tokens);
    tokens
}

fn flatten(stream: TokenStream, tokens: &mut Vec<Token>) {
    for tree in stream {
        let line = tree.span().start().line;
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                tokens.push(Token { text: open.to_owned(), line });
                flatten(group.stream(), tokens);
                tokens.push(Token { text: close.to_owned(), line: group.span_close().end().line });
            }
            TokenTree::Ident(ident) => tokens.push(Token { text: ident.to_string(), line }),
            TokenTree::Punct(punct) => tokens.push(Token { text: punct.as_char().to_string(), line }),
            TokenTree::Literal(literal) => tokens.push(Token { text: literal.to_string(), line }),
        }
    }
}

/// Whether the tokens from `at` on read like that.
pub(crate) fn reads(tokens: &[Token], at: usize, texts: &[&str]) -> bool {
    tokens.len() >= at + texts.len() && texts.iter().zip(&tokens[at..]).all(|(text, token)| token.text == *text)
}
