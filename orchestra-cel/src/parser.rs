//! Tokens into a tree, macros expanded.
//!
//! Why not the parser of the `cel` crate: it keeps no places for what the checker has to point at, and knows neither
//! optional fields nor `cel.bind`, `sortBy` and the macros of two variables.

use std::sync::Arc;

use kube_cel::cel::Value;

use crate::ast::{Entry, Expr, Fold, FoldKind, Node};
use crate::lexer::{Kind, Token, Unreadable, tokens};
use crate::values::is_reserved;

/// How deep an expression may nest.
const MAX_DEPTH: usize = 100;
/// How long an expression may be, in characters.
const MAX_LENGTH: usize = 100_000;
/// What may begin an expression, as the grammar of upstream lists it.
const BEGINNINGS: &str = "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, \
                          STRING, BYTES, IDENTIFIER}";

/// Reads an expression.
pub(crate) fn parse(source: &str) -> Result<Expr, Unreadable> {
    let length = source.chars().count();
    if length > MAX_LENGTH {
        let why = format!("expression code point size exceeds limit: size: {length}, limit {MAX_LENGTH}");
        return Err(Unreadable { at: 0, why });
    }
    let mut parser = Parser { tokens: tokens(source)?, at: 0, depth: 0 };
    let expr = parser.expression()?;
    let rest = parser.token();
    match rest.kind {
        Kind::End => Ok(expr),
        _ => {
            let why = format!("Syntax error: extraneous input '{}' expecting <EOF>", rest.text);
            Err(Unreadable { at: rest.at, why })
        }
    }
}

type Parsed<T = Expr> = Result<T, Unreadable>;

struct Parser {
    /// Never empty: the last one is the end.
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

impl Parser {
    fn token(&self) -> Token {
        self.tokens.get(self.at).or(self.tokens.last()).cloned().unwrap_or(Token {
            at: 0,
            kind: Kind::End,
            text: String::new(),
        })
    }

    fn is(&self, sign: &str) -> bool {
        self.tokens.get(self.at).is_some_and(|token| token.kind == Kind::Sign && token.text == sign)
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = self.is(sign);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &str) -> Parsed<()> {
        if self.take(sign) {
            return Ok(());
        }
        let token = self.token();
        let why = format!("Syntax error: mismatched input '{}' expecting '{sign}'", token.text);
        Err(Unreadable { at: token.at, why })
    }

    fn ident(&mut self) -> Parsed<(usize, String)> {
        let token = self.token();
        if token.kind == Kind::Ident {
            self.at += 1;
            return Ok((token.at, token.text));
        }
        let why = format!("Syntax error: mismatched input '{}' expecting IDENTIFIER", token.text);
        Err(Unreadable { at: token.at, why })
    }

    fn made(&self, at: usize, node: Node) -> Parsed {
        let expr = Expr::new(at, node);
        if expr.depth > MAX_DEPTH {
            return Err(Unreadable { at, why: format!("expression recursion limit exceeded: {MAX_DEPTH}") });
        }
        Ok(expr)
    }

    fn call(&self, at: usize, function: &str, args: Vec<Expr>) -> Parsed {
        self.made(at, Node::Call { function: function.into(), target: None, args })
    }

    fn expression(&mut self) -> Parsed {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            let why = format!("expression recursion limit exceeded: {MAX_DEPTH}");
            return Err(Unreadable { at: self.token().at, why });
        }
        let condition = self.logic(false)?;
        let at = self.token().at;
        let out = if self.take("?") {
            let yes = self.logic(false)?;
            self.expect(":")?;
            let no = self.expression()?;
            self.made(at, Node::Conditional(Box::new([condition, yes, no])))
        } else {
            Ok(condition)
        };
        self.depth -= 1;
        out
    }

    fn logic(&mut self, is_and: bool) -> Parsed {
        let operand = |parser: &mut Self| if is_and { parser.relation() } else { parser.logic(true) };
        let first = operand(self)?;
        let at = self.token().at;
        let sign = if is_and { "&&" } else { "||" };
        let mut operands = vec![first];
        while self.take(sign) {
            operands.push(operand(self)?);
        }
        match operands.len() {
            1 => Ok(operands.remove(0)),
            _ => self.made(at, Node::Logic { is_and, operands }),
        }
    }

    fn relation(&mut self) -> Parsed {
        let mut left = self.sum()?;
        loop {
            let token = self.token();
            if token.kind != Kind::Sign {
                return Ok(left);
            }
            let function = match token.text.as_str() {
                "==" => "_==_",
                "!=" => "_!=_",
                "<" => "_<_",
                "<=" => "_<=_",
                ">" => "_>_",
                ">=" => "_>=_",
                "in" => "@in",
                _ => return Ok(left),
            };
            self.at += 1;
            let right = self.sum()?;
            left = self.call(token.at, function, vec![left, right])?;
        }
    }

    fn sum(&mut self) -> Parsed {
        let mut left = self.product()?;
        loop {
            let at = self.token().at;
            let function = if self.take("+") {
                "_+_"
            } else if self.take("-") {
                "_-_"
            } else {
                return Ok(left);
            };
            let right = self.product()?;
            left = self.call(at, function, vec![left, right])?;
        }
    }

    fn product(&mut self) -> Parsed {
        let mut left = self.unary()?;
        loop {
            let at = self.token().at;
            let function = if self.take("*") {
                "_*_"
            } else if self.take("/") {
                "_/_"
            } else if self.take("%") {
                "_%_"
            } else {
                return Ok(left);
            };
            let right = self.unary()?;
            left = self.call(at, function, vec![left, right])?;
        }
    }

    fn unary(&mut self) -> Parsed {
        let at = self.token().at;
        for (sign, function) in [("!", "!_"), ("-", "-_")] {
            let mut count = 0;
            while self.take(sign) {
                count += 1;
            }
            if count == 0 {
                continue;
            }
            if sign == "-" && count == 1 {
                let token = self.token();
                let negated = match token.kind {
                    Kind::Literal(Value::Int(number)) => Some(Value::Int(number.wrapping_neg())),
                    Kind::Literal(Value::Float(number)) => Some(Value::Float(-number)),
                    _ => None,
                };
                if let Some(value) = negated {
                    self.at += 1;
                    let literal = self.made(at, Node::Literal(value))?;
                    return self.members(literal);
                }
            }
            let operand = self.member()?;
            return if count % 2 == 0 { Ok(operand) } else { self.call(at, function, vec![operand]) };
        }
        self.member()
    }

    fn member(&mut self) -> Parsed {
        let primary = self.primary()?;
        self.members(primary)
    }

    fn members(&mut self, mut left: Expr) -> Parsed {
        loop {
            let at = self.token().at;
            if self.take(".") {
                let optional = self.take("?");
                let (_, name) = self.ident()?;
                let open = self.token().at;
                if !optional && self.take("(") {
                    let args = self.arguments(")")?;
                    left = self.member_call(open, left, &name, args)?;
                } else {
                    let field = name.as_str().into();
                    let node = Node::Select { operand: Box::new(left), field, test: false, optional };
                    left = self.made(at, node)?;
                }
            } else if self.take("[") {
                let function = if self.take("?") { "_[?_]" } else { "_[_]" };
                let index = self.expression()?;
                self.expect("]")?;
                left = self.call(at, function, vec![left, index])?;
            } else {
                return Ok(left);
            }
        }
    }

    fn arguments(&mut self, close: &str) -> Parsed<Vec<Expr>> {
        let mut args = Vec::new();
        if self.take(close) {
            return Ok(args);
        }
        loop {
            args.push(self.expression()?);
            if !self.take(",") {
                self.expect(close)?;
                return Ok(args);
            }
        }
    }

    fn primary(&mut self) -> Parsed {
        let token = self.token();
        let at = token.at;
        match token.kind {
            Kind::Literal(Value::Int(i64::MIN)) => {
                Err(Unreadable { at, why: "invalid int literal".to_owned() })
            }
            Kind::Literal(value) => {
                self.at += 1;
                self.made(at, Node::Literal(value))
            }
            Kind::Ident => self.named(),
            Kind::Sign if token.text == "." => {
                self.at += 1;
                self.named()
            }
            Kind::Sign if token.text == "(" => {
                self.at += 1;
                let inner = self.expression()?;
                self.expect(")")?;
                Ok(inner)
            }
            Kind::Sign if token.text == "[" => {
                self.at += 1;
                self.list(at)
            }
            Kind::Sign if token.text == "{" => {
                self.at += 1;
                self.map(at)
            }
            _ => {
                let why = format!("Syntax error: mismatched input '{}' expecting {BEGINNINGS}", token.text);
                Err(Unreadable { at, why })
            }
        }
    }

    /// Whether names with dots between them lead to a brace: a message that is written out.
    fn is_message(&self) -> bool {
        let is = |at: usize, sign: &str| self.tokens.get(at).is_some_and(|token| token.text == sign);
        let mut at = self.at;
        while self.tokens.get(at).is_some_and(|token| token.kind == Kind::Ident) {
            if is(at + 1, "{") {
                return true;
            }
            if !is(at + 1, ".") {
                return false;
            }
            at += 2;
        }
        false
    }

    fn message(&mut self) -> Parsed {
        let (_, mut name) = self.ident()?;
        while self.take(".") {
            name.push('.');
            name.push_str(&self.ident()?.1);
        }
        let at = self.token().at;
        self.expect("{")?;
        let mut fields = Vec::new();
        while !self.take("}") {
            let optional = self.take("?");
            let (_, field) = self.ident()?;
            let colon = self.token().at;
            self.expect(":")?;
            let value = self.expression()?;
            fields.push(Entry { at: colon, optional, name: field.into(), value });
            if !self.take(",") {
                self.expect("}")?;
                break;
            }
        }
        self.made(at, Node::Message { name: name.into(), fields })
    }

    fn named(&mut self) -> Parsed {
        if self.is_message() {
            return self.message();
        }
        let (at, name) = self.ident()?;
        if is_reserved(&name) {
            return Err(Unreadable { at, why: format!("reserved identifier: {name}") });
        }
        let open = self.token().at;
        if !self.take("(") {
            return self.made(at, Node::Ident(name.as_str().into()));
        }
        let mut args = self.arguments(")")?;
        if name == "has" && args.len() == 1 {
            return match args.remove(0) {
                Expr { node: Node::Select { operand, field, optional, .. }, .. } => {
                    self.made(open, Node::Select { operand, field, test: true, optional })
                }
                other => Err(Unreadable { at: other.at, why: "invalid argument to has() macro".to_owned() }),
            };
        }
        self.call(open, &name, args)
    }

    fn list(&mut self, at: usize) -> Parsed {
        let mut items = Vec::new();
        while !self.take("]") {
            let optional = self.take("?");
            items.push((optional, self.expression()?));
            if !self.take(",") {
                self.expect("]")?;
                break;
            }
        }
        self.made(at, Node::List(items))
    }

    fn map(&mut self, at: usize) -> Parsed {
        let mut entries = Vec::new();
        while !self.take("}") {
            let optional = self.take("?");
            let key = self.expression()?;
            self.expect(":")?;
            entries.push((optional, key, self.expression()?));
            if !self.take(",") {
                self.expect("}")?;
                break;
            }
        }
        self.made(at, Node::Map(entries))
    }

    /// A call on a target: a macro, if it has the form of one.
    fn member_call(&self, at: usize, target: Expr, name: &str, mut args: Vec<Expr>) -> Parsed {
        let is_cel = matches!(&target.node, Node::Ident(ident) if ident.as_ref() == "cel");
        if is_cel && name == "bind" && args.len() == 3 {
            let body = Box::new(args.remove(2));
            let value = Box::new(args.remove(1));
            let name = variable(&args.remove(0))?;
            return self.made(at, Node::Bind { name, value, body });
        }
        if matches!(name, "optMap" | "optFlatMap") && args.len() == 2 {
            let body = Box::new(args.remove(1));
            let variable = variable(&args.remove(0))?;
            let operand = Box::new(target);
            return self.made(at, Node::OptMap { operand, name: variable, body, flat: name == "optFlatMap" });
        }
        let (kind, variables, has_filter) = match (name, args.len()) {
            ("all", 2) => (FoldKind::All, 1, false),
            ("all", 3) => (FoldKind::All, 2, false),
            ("exists", 2) => (FoldKind::Exists, 1, false),
            ("exists", 3) => (FoldKind::Exists, 2, false),
            ("exists_one" | "existsOne", 2) => (FoldKind::ExistsOne, 1, false),
            ("exists_one" | "existsOne", 3) => (FoldKind::ExistsOne, 2, false),
            ("filter", 2) => (FoldKind::Filter, 1, false),
            ("map", 2) => (FoldKind::List, 1, false),
            ("map", 3) => (FoldKind::List, 1, true),
            ("transformList", 3) => (FoldKind::List, 2, false),
            ("transformList", 4) => (FoldKind::List, 2, true),
            ("transformMap", 3) => (FoldKind::Map, 2, false),
            ("transformMap", 4) => (FoldKind::Map, 2, true),
            ("transformMapEntry", 3) => (FoldKind::Entries, 2, false),
            ("transformMapEntry", 4) => (FoldKind::Entries, 2, true),
            ("sortBy", 2) => (FoldKind::SortBy, 1, false),
            _ => {
                let node = Node::Call { function: name.into(), target: Some(Box::new(target)), args };
                return self.made(at, node);
            }
        };
        let mut args = args.into_iter();
        let mut next = || args.next().ok_or(Unreadable { at, why: "missing argument".to_owned() });
        let first = variable(&next()?)?;
        let second = if variables == 2 { Some(variable(&next()?)?) } else { None };
        let filter = if has_filter { Some(next()?) } else { None };
        let body = next()?;
        self.made(at, Node::Fold(Box::new(Fold { kind, range: target, first, second, filter, body })))
    }
}

/// The variable a macro declares.
fn variable(expr: &Expr) -> Result<Arc<str>, Unreadable> {
    match &expr.node {
        Node::Ident(name) => Ok(name.clone()),
        _ => Err(Unreadable { at: expr.at, why: "argument must be a simple name".to_owned() }),
    }
}
