//! The syntax of SRS's configuration files, which is nginx's: `name argument… ;` or `name argument… { … }`.

use std::iter::Peekable;
use std::str::CharIndices;

/// Blocks within blocks; SRS's go four deep.
const MAX_DEPTH: usize = 16;
/// Files that include files.
const MAX_INCLUDES: usize = 64;

/// A directive, or a block of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Directive {
    pub(super) name: String,
    pub(super) args: Vec<String>,
    /// Its file, and the line there; lines count from 1.
    pub(super) file: String,
    pub(super) line: usize,
    /// What is between its braces.
    pub(super) block: Option<Vec<Directive>>,
}

/// Why a file cannot be read as one of SRS's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {what}")]
pub struct SyntaxError {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub what: String,
}

/// Reads a file's text; `include` gives the text of a file that it includes.
pub(super) fn parse(
    file: &str,
    text: &str,
    include: &mut dyn FnMut(&str) -> Result<String, String>,
) -> Result<Vec<Directive>, SyntaxError> {
    let mut directives = Vec::new();
    let mut includes = 0;
    let mut parser = Parser::new(file, text, include, &mut includes);
    parser.block(0, &mut directives)?;
    Ok(directives)
}

enum Token {
    Word(String),
    End,
    Open,
    Close,
}

struct Parser<'t> {
    file: &'t str,
    text: &'t str,
    chars: Peekable<CharIndices<'t>>,
    line: usize,
    include: &'t mut dyn FnMut(&str) -> Result<String, String>,
    includes: &'t mut usize,
}

impl<'t> Parser<'t> {
    fn new(
        file: &'t str,
        text: &'t str,
        include: &'t mut dyn FnMut(&str) -> Result<String, String>,
        includes: &'t mut usize,
    ) -> Parser<'t> {
        Parser { file, text, chars: text.char_indices().peekable(), line: 1, include, includes }
    }

    fn error<T>(&self, line: usize, what: impl Into<String>) -> Result<T, SyntaxError> {
        Err(SyntaxError { file: self.file.to_owned(), line, what: what.into() })
    }

    /// The directives up to the end of a block, or of the file.
    fn block(&mut self, depth: usize, into: &mut Vec<Directive>) -> Result<(), SyntaxError> {
        if depth > MAX_DEPTH {
            return self.error(self.line, format!("more than {MAX_DEPTH} blocks within each other"));
        }
        let opened = self.line;
        loop {
            let Some((token, line)) = self.token()? else {
                return match depth {
                    0 => Ok(()),
                    _ => self.error(opened, "this block has no end: a '}' is missing"),
                };
            };
            match token {
                Token::Word(name) => self.directive(name, line, depth, into)?,
                Token::End => return self.error(line, "a ';' where a directive should begin"),
                Token::Open => return self.error(line, "a '{' where a directive should begin"),
                Token::Close if depth == 0 => return self.error(line, "a '}' that ends no block"),
                Token::Close => return Ok(()),
            }
        }
    }

    /// The rest of a directive behind its name.
    fn directive(
        &mut self,
        name: String,
        line: usize,
        depth: usize,
        into: &mut Vec<Directive>,
    ) -> Result<(), SyntaxError> {
        let file = self.file.to_owned();
        let mut args = Vec::new();
        loop {
            match self.token()? {
                Some((Token::Word(word), _)) => args.push(word),
                Some((Token::End, _)) if name == "include" => return self.included(&args, line, depth, into),
                Some((Token::End, _)) => {
                    into.push(Directive { name, args, file, line, block: None });
                    return Ok(());
                }
                Some((Token::Open, _)) => {
                    let mut block = Vec::new();
                    self.block(depth + 1, &mut block)?;
                    into.push(Directive { name, args, file, line, block: Some(block) });
                    return Ok(());
                }
                Some((Token::Close, _)) | None => {
                    return self.error(line, format!("{name} has no end: a ';' is missing"));
                }
            }
        }
    }

    /// Puts the directives of other files in place of `include`.
    fn included(
        &mut self,
        paths: &[String],
        line: usize,
        depth: usize,
        into: &mut Vec<Directive>,
    ) -> Result<(), SyntaxError> {
        for path in paths {
            *self.includes += 1;
            if *self.includes > MAX_INCLUDES {
                return self.error(line, format!("more than {MAX_INCLUDES} included files"));
            }
            let text = match (self.include)(path) {
                Ok(text) => text,
                Err(why) => return self.error(line, format!("{path}: {why}")),
            };
            // As deep as where it stands: files that include each other come to an end.
            let mut parser = Parser::new(path, &text, &mut *self.include, &mut *self.includes);
            let mut directives = Vec::new();
            parser.block(0, &mut directives)?;
            if depth + depth_of(&directives) > MAX_DEPTH {
                return self.error(line, format!("more than {MAX_DEPTH} blocks within each other"));
            }
            into.extend(directives);
        }
        Ok(())
    }

    /// The next token, and its line.
    fn token(&mut self) -> Result<Option<(Token, usize)>, SyntaxError> {
        while let Some((at, c)) = self.chars.next() {
            let line = self.line;
            let token = match c {
                '\n' => {
                    self.line += 1;
                    continue;
                }
                ' ' | '\t' | '\r' => continue,
                '#' => {
                    while self.chars.next_if(|(_, c)| *c != '\n').is_some() {}
                    continue;
                }
                ';' => Token::End,
                '{' => Token::Open,
                '}' => Token::Close,
                '"' | '\'' => match self.quoted(c, line)? {
                    word if word.is_empty() => continue, // as SRS does
                    word => Token::Word(word),
                },
                _ => {
                    let is_word =
                        |(_, c): &(usize, char)| !matches!(c, ' ' | '\t' | '\r' | '\n' | ';' | '{' | '}');
                    while self.chars.next_if(is_word).is_some() {}
                    let end = self.chars.peek().map_or(self.text.len(), |(end, _)| *end);
                    Token::Word(self.text.get(at..end).unwrap_or_default().to_owned())
                }
            };
            return Ok(Some((token, line)));
        }
        Ok(None)
    }

    /// What is between quotes; there are no escapes.
    fn quoted(&mut self, quote: char, line: usize) -> Result<String, SyntaxError> {
        let mut word = String::new();
        loop {
            match self.chars.next() {
                Some((_, c)) if c == quote => break,
                Some((_, c)) => {
                    self.line += usize::from(c == '\n');
                    word.push(c);
                }
                None => return self.error(line, format!("a {quote} that is not closed")),
            }
        }
        match self.chars.peek().copied() {
            None | Some((_, ' ' | '\t' | '\r' | '\n' | ';' | '{')) => Ok(word),
            Some((_, c)) => self.error(self.line, format!("'{c}' right behind a closing {quote}")),
        }
    }
}

fn depth_of(directives: &[Directive]) -> usize {
    directives
        .iter()
        .filter_map(|directive| directive.block.as_deref())
        .map(|block| 1 + depth_of(block))
        .max()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Vec<Directive>, SyntaxError> {
        parse("srs.conf", text, &mut |path| Err(format!("no {path}")))
    }

    /// As SRS would write them.
    fn show(directives: &[Directive]) -> String {
        let one = |d: &Directive| {
            let words = [std::slice::from_ref(&d.name), &d.args[..]].concat().join("|");
            d.block
                .as_ref()
                .map_or_else(|| format!("{words};"), |block| format!("{words}{{{}}}", show(block)))
        };
        directives.iter().map(one).collect()
    }

    #[test]
    fn directives_and_blocks() {
        let text = "# a comment; {\nlisten 1935 19350;# more\nvhost a.b{\r\n\tplay { gop_cache off; }\nc#d 'x y' \"\" \"#\"; }";
        let directives = read(text).unwrap();
        assert_eq!(show(&directives), "listen|1935|19350;vhost|a.b{play{gop_cache|off;}c#d|x y|#;}");
        assert_eq!((directives[0].line, directives[1].line), (2, 3));
        assert_eq!(directives[1].block.as_ref().unwrap()[1].line, 5);
        assert_eq!(read("").unwrap(), []);
    }

    #[test]
    fn what_is_wrong_names_its_line() {
        let error = |text| read(text).unwrap_err().to_string();
        assert_eq!(error("a 1;\nb 2\n"), "srs.conf:2: b has no end: a ';' is missing");
        assert_eq!(error("vhost a {\nb 1; "), "srs.conf:1: this block has no end: a '}' is missing");
        assert_eq!(error("vhost a {\nb 1 }"), "srs.conf:2: b has no end: a ';' is missing");
        assert_eq!(error("}"), "srs.conf:1: a '}' that ends no block");
        assert_eq!(error(";"), "srs.conf:1: a ';' where a directive should begin");
        assert_eq!(error("a 'x"), "srs.conf:1: a ' that is not closed");
        assert_eq!(error("a 'x'y;"), "srs.conf:1: 'y' right behind a closing '");
        assert_eq!(error("include z;"), "srs.conf:1: z: no z");
        assert_eq!(error(&"a {".repeat(20)), "srs.conf:1: more than 16 blocks within each other");
    }

    #[test]
    fn included_files_stand_where_they_are_named() {
        let mut include = |path: &str| match path {
            "two" => Ok("b 2;\ninclude three;".to_owned()),
            "three" => Ok("c 3;".to_owned()),
            _ => Ok("include loop;".to_owned()),
        };
        let directives = parse("one", "v { a 1; include two; d 4; }", &mut include).unwrap();
        assert_eq!(show(&directives), "v{a|1;b|2;c|3;d|4;}");
        let block = directives[0].block.as_ref().unwrap();
        assert_eq!((block[1].file.as_str(), block[2].file.as_str()), ("two", "three"));
        let error = parse("one", "include loop;", &mut include).unwrap_err();
        assert_eq!(error.what, "more than 64 included files");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a-c;{}'\"#\\n é]{0,60}") {
            let _ = parse("x", &text, &mut |_| Ok("a;".to_owned()));
        }
    }
}
