//! Which operation a GraphQL document asks for (GraphQL specification 2). Only as much of the grammar is checked as tells a
//! document from other text; a document that is cut off may end anywhere. One pass, no recursion.

use super::lexer::{Lexer, Token};
use crate::GraphQlKind;

/// An operation of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Operation<'a> {
    pub(super) kind: GraphQlKind,
    pub(super) name: Option<&'a [u8]>,
}

/// Tokens of the selection set of the operation that is asked for that are checked: by then it is GraphQL, or nothing is.
const TOKENS_CHECKED: usize = 100;

/// The operation of `document` that is called `wanted`, or else its first; `None`: it is no document that can be executed.
/// `whole`: nothing of it is missing at its end.
pub(super) fn operation<'a>(document: &'a [u8], wanted: Option<&[u8]>, whole: bool) -> Option<Operation<'a>> {
    let mut parser = Parser {
        lexer: Lexer::new(document),
        whole,
        peeked: None,
    };
    let mut first = None;
    loop {
        match parser.definition(wanted) {
            Definition::Operation(operation) => {
                if wanted.is_some() && operation.name == wanted {
                    return Some(operation);
                }
                first.get_or_insert(operation);
                // Without a choice to make there is nothing to look for; that the rest is GraphQL too is believed.
                if wanted.is_none() {
                    return first;
                }
            }
            Definition::Fragment => {}
            Definition::End => return first,
            Definition::None => return None,
        }
    }
}

enum Definition<'a> {
    Operation(Operation<'a>),
    Fragment,
    /// There are no more.
    End,
    /// What stands here is none.
    None,
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    whole: bool,
    peeked: Option<Token<'a>>,
}

/// What became of a part of a definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Complete,
    /// The document is cut off in it.
    Cut,
    /// It is none.
    Bad,
}

impl<'a> Parser<'a> {
    fn next(&mut self) -> Token<'a> {
        self.peeked.take().unwrap_or_else(|| self.lexer.token())
    }

    fn peek(&mut self) -> Token<'a> {
        let token = self.next();
        self.peeked = Some(token);
        token
    }

    /// What the end of the text means inside a definition.
    fn end(&self) -> Part {
        if self.whole { Part::Bad } else { Part::Cut }
    }

    fn definition(&mut self, wanted: Option<&[u8]>) -> Definition<'a> {
        let mut token = self.next();
        // A description (September 2025 edition, 2.12).
        if token == Token::Text {
            token = self.next();
        }
        let kind = match token {
            Token::End => return Definition::End,
            Token::Mark(b'{') => {
                let anonymous = Operation {
                    kind: GraphQlKind::Query,
                    name: None,
                };
                // An opening brace alone is no sign of GraphQL.
                return match self.peek() {
                    Token::Name(_) | Token::Mark(b'.') => self.ends(anonymous, wanted),
                    _ => Definition::None,
                };
            }
            Token::Name(b"query") => GraphQlKind::Query,
            Token::Name(b"mutation") => GraphQlKind::Mutation,
            Token::Name(b"subscription") => GraphQlKind::Subscription,
            Token::Name(b"fragment") => return self.fragment(),
            _ => return Definition::None,
        };
        let (mut name, mut begun) = (None, false);
        if let Token::Name(word) = self.peek() {
            self.next();
            // A name that is cut off is not what it is called.
            let cut = !self.whole && self.peek() == Token::End;
            name = Some(word).filter(|_| !cut);
            begun = true;
        }
        let operation = Operation { kind, name };
        if self.peek() == Token::Mark(b'(') {
            self.next();
            match self.balanced() {
                Part::Complete => {}
                Part::Cut => return Definition::Operation(operation),
                Part::Bad => return Definition::None,
            }
        }
        match self.directives() {
            Part::Complete => {}
            Part::Cut => return Definition::Operation(operation),
            Part::Bad => return Definition::None,
        }
        match self.next() {
            Token::Mark(b'{') => self.ends(operation, wanted),
            // A bare keyword is a word like any other.
            Token::End if !self.whole && begun => Definition::Operation(operation),
            _ => Definition::None,
        }
    }

    /// The operation, if a selection set follows.
    fn ends(&mut self, operation: Operation<'a>, wanted: Option<&[u8]>) -> Definition<'a> {
        let checked = if wanted.is_none() || operation.name == wanted {
            TOKENS_CHECKED
        } else {
            usize::MAX
        };
        match self.selections(checked) {
            Part::Complete | Part::Cut => Definition::Operation(operation),
            Part::Bad => Definition::None,
        }
    }

    fn fragment(&mut self) -> Definition<'a> {
        let head = [self.next(), self.next(), self.next()];
        let cut = head.contains(&Token::End);
        let fits = matches!(head, [Token::Name(_), Token::Name(b"on"), Token::Name(_)]);
        let part = match (fits, cut) {
            (true, _) => match self.directives() {
                Part::Complete => match self.next() {
                    Token::Mark(b'{') => self.selections(usize::MAX),
                    Token::End => self.end(),
                    _ => Part::Bad,
                },
                part => part,
            },
            (false, true) => self.end(),
            (false, false) => Part::Bad,
        };
        match part {
            Part::Complete => Definition::Fragment,
            Part::Cut => Definition::End,
            Part::Bad => Definition::None,
        }
    }

    fn directives(&mut self) -> Part {
        while self.peek() == Token::Mark(b'@') {
            self.next();
            match self.next() {
                Token::Name(_) => {}
                Token::End => return self.end(),
                _ => return Part::Bad,
            }
            if self.peek() == Token::Mark(b'(') {
                self.next();
                match self.balanced() {
                    Part::Complete => {}
                    part => return part,
                }
            }
        }
        Part::Complete
    }

    /// Behind an opening parenthesis: up to the one that closes it.
    fn balanced(&mut self) -> Part {
        let mut depth = 1_usize;
        loop {
            match self.next() {
                Token::Mark(b'(' | b'[' | b'{') => depth += 1,
                Token::Mark(b')' | b']' | b'}') => {
                    depth -= 1;
                    if depth == 0 {
                        return Part::Complete;
                    }
                }
                Token::End => return self.end(),
                Token::Bad => return Part::Bad,
                Token::Mark(_) | Token::Name(_) | Token::Text | Token::Number => {}
            }
        }
    }

    /// Behind an opening brace: up to the one that closes it, or as far as is to be checked.
    fn selections(&mut self, checked: usize) -> Part {
        let mut depth = 1_usize;
        let mut before = Before::Open;
        for _ in 0..checked {
            before = match (self.next(), before) {
                (Token::Name(_), _) => Before::Field,
                (Token::Mark(b':'), Before::Field) => match self.next() {
                    Token::Name(_) => Before::Field,
                    Token::End => return self.end(),
                    _ => return Part::Bad,
                },
                (Token::Mark(b'('), Before::Field) => match self.balanced() {
                    Part::Complete => Before::Field,
                    part => return part,
                },
                (Token::Mark(b'@'), Before::Field | Before::Spread) => {
                    self.peeked = Some(Token::Mark(b'@'));
                    match self.directives() {
                        Part::Complete => before,
                        part => return part,
                    }
                }
                (Token::Mark(b'.'), _) => Before::Spread,
                (Token::Mark(b'{'), Before::Field | Before::Spread) => {
                    depth += 1;
                    Before::Open
                }
                (Token::Mark(b'}'), Before::Field | Before::Closed) => {
                    depth -= 1;
                    if depth == 0 {
                        return Part::Complete;
                    }
                    Before::Closed
                }
                (Token::End, _) => return self.end(),
                _ => return Part::Bad,
            };
        }
        Part::Cut
    }
}

/// What stood before a token of a selection set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    /// The opening brace.
    Open,
    /// A field, with its alias, arguments and directives; or the name of a fragment.
    Field,
    /// `...`
    Spread,
    /// A selection set.
    Closed,
}
