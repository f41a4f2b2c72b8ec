//! Every function there is, as `k8s.io/apiserver/pkg/cel/environment` makes them available in 1.36: names, what they
//! take, what they give. `A` and `B` stand for any type. What stands before the dot is the target of a method; a name
//! with `#` for its dot is one of a namespace.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::declared::Type;

/// One form of a function.
#[derive(Debug)]
pub(crate) struct Overload {
    pub(crate) target: Option<Type>,
    pub(crate) args: Vec<Type>,
    pub(crate) result: Type,
}

/// The forms of a function; empty for one that does not exist.
pub(crate) fn overloads(name: &str) -> &'static [Overload] {
    static TABLE: LazyLock<HashMap<String, Vec<Overload>>> = LazyLock::new(|| {
        let mut table: HashMap<String, Vec<Overload>> = HashMap::new();
        for line in DECLARED.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (name, overload) = read(line);
            table.entry(name).or_default().push(overload);
        }
        table
    });
    TABLE.get(name).map(Vec::as_slice).unwrap_or_default()
}

fn read(line: &str) -> (String, Overload) {
    let (signature, result) = line.split_once(" -> ").unwrap_or((line, "dyn"));
    // The target's type may have brackets and a dot of its own: the dot before the name is the last one at no depth.
    let mut depth = 0;
    let mut dot = None;
    let mut open = signature.len();
    for (at, c) in signature.char_indices() {
        match c {
            '(' => {
                depth += 1;
                open = if depth == 1 { at } else { open };
            }
            ')' => depth -= 1,
            '|' if depth == 0 => dot = Some(at),
            _ => {}
        }
    }
    let (target, rest) = match dot {
        Some(dot) => (Some(Type::read(&signature[..dot])), &signature[dot + 1..]),
        None => (None, signature),
    };
    let open = rest.len() - (signature.len() - open);
    let name = rest[..open].replace('#', ".");
    let inside = rest[open..].strip_prefix('(').and_then(|args| args.strip_suffix(')')).unwrap_or_default();
    let mut args = Vec::new();
    let (mut depth, mut from) = (0, 0);
    for (at, c) in inside.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ';' if depth == 0 => {
                args.push(Type::read(&inside[from..at]));
                from = at + 1;
            }
            _ => {}
        }
    }
    if !inside[from..].trim().is_empty() {
        args.push(Type::read(&inside[from..]));
    }
    (name, Overload { target, args, result: Type::read(result) })
}

/// `target|name(arg; arg) -> result`
const DECLARED: &str = "
_==_(A; A) -> bool
_!=_(A; A) -> bool
@in(A; list(A)) -> bool
@in(A; map(A, B)) -> bool
!_(bool) -> bool
-_(int) -> int
-_(double) -> double
_+_(int; int) -> int
_+_(uint; uint) -> uint
_+_(double; double) -> double
_+_(string; string) -> string
_+_(bytes; bytes) -> bytes
_+_(list(A); list(A)) -> list(A)
_+_(timestamp; duration) -> timestamp
_+_(duration; timestamp) -> timestamp
_+_(duration; duration) -> duration
_-_(int; int) -> int
_-_(uint; uint) -> uint
_-_(double; double) -> double
_-_(timestamp; timestamp) -> duration
_-_(timestamp; duration) -> timestamp
_-_(duration; duration) -> duration
_*_(int; int) -> int
_*_(uint; uint) -> uint
_*_(double; double) -> double
_/_(int; int) -> int
_/_(uint; uint) -> uint
_/_(double; double) -> double
_%_(int; int) -> int
_%_(uint; uint) -> uint
_[_](list(A); int) -> A
_[_](map(A, B); A) -> B
_[_](optional_type(list(A)); int) -> optional_type(A)
_[_](optional_type(map(A, B)); A) -> optional_type(B)
_[?_](list(A); int) -> optional_type(A)
_[?_](map(A, B); A) -> optional_type(B)
_[?_](optional_type(list(A)); int) -> optional_type(A)
_[?_](optional_type(map(A, B)); A) -> optional_type(B)
dyn(A) -> dyn
type(A) -> type
size(string) -> int
size(bytes) -> int
size(list(A)) -> int
size(map(A, B)) -> int
string|size() -> int
bytes|size() -> int
list(A)|size() -> int
map(A, B)|size() -> int
string|contains(string) -> bool
string|startsWith(string) -> bool
string|endsWith(string) -> bool
string|matches(string) -> bool
matches(string; string) -> bool
bool(bool) -> bool
bool(string) -> bool
int(int) -> int
int(uint) -> int
int(double) -> int
int(string) -> int
int(timestamp) -> int
int(duration) -> int
uint(uint) -> uint
uint(int) -> uint
uint(double) -> uint
uint(string) -> uint
double(double) -> double
double(int) -> double
double(uint) -> double
double(string) -> double
string(string) -> string
string(bool) -> string
string(int) -> string
string(uint) -> string
string(double) -> string
string(bytes) -> string
string(timestamp) -> string
string(duration) -> string
string(net.IP) -> string
string(net.CIDR) -> string
bytes(bytes) -> bytes
bytes(string) -> bytes
duration(duration) -> duration
duration(string) -> duration
duration(int) -> duration
timestamp(timestamp) -> timestamp
timestamp(string) -> timestamp
timestamp(int) -> timestamp
timestamp|getFullYear() -> int
timestamp|getFullYear(string) -> int
timestamp|getMonth() -> int
timestamp|getMonth(string) -> int
timestamp|getDayOfYear() -> int
timestamp|getDayOfYear(string) -> int
timestamp|getDayOfMonth() -> int
timestamp|getDayOfMonth(string) -> int
timestamp|getDate() -> int
timestamp|getDate(string) -> int
timestamp|getDayOfWeek() -> int
timestamp|getDayOfWeek(string) -> int
timestamp|getHours() -> int
timestamp|getHours(string) -> int
timestamp|getMinutes() -> int
timestamp|getMinutes(string) -> int
timestamp|getSeconds() -> int
timestamp|getSeconds(string) -> int
timestamp|getMilliseconds() -> int
timestamp|getMilliseconds(string) -> int
duration|getHours() -> int
duration|getMinutes() -> int
duration|getSeconds() -> int
duration|getMilliseconds() -> int
optional#of(A) -> optional_type(A)
optional#ofNonZeroValue(A) -> optional_type(A)
optional#none() -> optional_type(A)
optional_type(A)|value() -> A
optional_type(A)|hasValue() -> bool
optional_type(A)|or(optional_type(A)) -> optional_type(A)
optional_type(A)|orValue(A) -> A
string|charAt(int) -> string
string|indexOf(string) -> int
string|indexOf(string; int) -> int
string|lastIndexOf(string) -> int
string|lastIndexOf(string; int) -> int
list(A)|indexOf(A) -> int
list(A)|lastIndexOf(A) -> int
string|lowerAscii() -> string
string|upperAscii() -> string
string|replace(string; string) -> string
string|replace(string; string; int) -> string
string|split(string) -> list(string)
string|split(string; int) -> list(string)
string|substring(int) -> string
string|substring(int; int) -> string
string|trim() -> string
list(string)|join() -> string
list(string)|join(string) -> string
string|format(list(dyn)) -> string
strings#quote(string) -> string
string|find(string) -> string
string|findAll(string) -> list(string)
string|findAll(string; int) -> list(string)
list(int)|isSorted() -> bool
list(uint)|isSorted() -> bool
list(double)|isSorted() -> bool
list(bool)|isSorted() -> bool
list(string)|isSorted() -> bool
list(bytes)|isSorted() -> bool
list(timestamp)|isSorted() -> bool
list(duration)|isSorted() -> bool
list(int)|sum() -> int
list(uint)|sum() -> uint
list(double)|sum() -> double
list(duration)|sum() -> duration
list(int)|min() -> int
list(uint)|min() -> uint
list(double)|min() -> double
list(bool)|min() -> bool
list(string)|min() -> string
list(bytes)|min() -> bytes
list(timestamp)|min() -> timestamp
list(duration)|min() -> duration
list(int)|max() -> int
list(uint)|max() -> uint
list(double)|max() -> double
list(bool)|max() -> bool
list(string)|max() -> string
list(bytes)|max() -> bytes
list(timestamp)|max() -> timestamp
list(duration)|max() -> duration
list(A)|slice(int; int) -> list(A)
list(A)|flatten() -> list(dyn)
list(A)|flatten(int) -> list(dyn)
list(A)|sort() -> list(A)
list(A)|distinct() -> list(A)
list(A)|reverse() -> list(A)
list(A)|first() -> optional_type(A)
list(A)|last() -> optional_type(A)
lists#range(int) -> list(int)
sets#contains(list(A); list(A)) -> bool
sets#equivalent(list(A); list(A)) -> bool
sets#intersects(list(A); list(A)) -> bool
url(string) -> kubernetes.URL
isURL(string) -> bool
kubernetes.URL|getScheme() -> string
kubernetes.URL|getHost() -> string
kubernetes.URL|getHostname() -> string
kubernetes.URL|getPort() -> string
kubernetes.URL|getEscapedPath() -> string
kubernetes.URL|getQuery() -> map(string, list(string))
quantity(string) -> kubernetes.Quantity
isQuantity(string) -> bool
kubernetes.Quantity|isInteger() -> bool
kubernetes.Quantity|asInteger() -> int
kubernetes.Quantity|asApproximateFloat() -> double
kubernetes.Quantity|sign() -> int
kubernetes.Quantity|add(kubernetes.Quantity) -> kubernetes.Quantity
kubernetes.Quantity|add(int) -> kubernetes.Quantity
kubernetes.Quantity|sub(kubernetes.Quantity) -> kubernetes.Quantity
kubernetes.Quantity|sub(int) -> kubernetes.Quantity
kubernetes.Quantity|isGreaterThan(kubernetes.Quantity) -> bool
kubernetes.Quantity|isLessThan(kubernetes.Quantity) -> bool
kubernetes.Quantity|compareTo(kubernetes.Quantity) -> int
ip(string) -> net.IP
isIP(string) -> bool
ip#isCanonical(string) -> bool
net.IP|family() -> int
net.IP|isUnspecified() -> bool
net.IP|isLoopback() -> bool
net.IP|isLinkLocalMulticast() -> bool
net.IP|isLinkLocalUnicast() -> bool
net.IP|isGlobalUnicast() -> bool
cidr(string) -> net.CIDR
isCIDR(string) -> bool
net.CIDR|containsIP(string) -> bool
net.CIDR|containsIP(net.IP) -> bool
net.CIDR|containsCIDR(string) -> bool
net.CIDR|containsCIDR(net.CIDR) -> bool
net.CIDR|ip() -> net.IP
net.CIDR|masked() -> net.CIDR
net.CIDR|prefixLength() -> int
semver(string) -> kubernetes.Semver
semver(string; bool) -> kubernetes.Semver
isSemver(string) -> bool
isSemver(string; bool) -> bool
kubernetes.Semver|major() -> int
kubernetes.Semver|minor() -> int
kubernetes.Semver|patch() -> int
kubernetes.Semver|isGreaterThan(kubernetes.Semver) -> bool
kubernetes.Semver|isLessThan(kubernetes.Semver) -> bool
kubernetes.Semver|compareTo(kubernetes.Semver) -> int
format#dns1123Label() -> kubernetes.NamedFormat
format#dns1123Subdomain() -> kubernetes.NamedFormat
format#dns1035Label() -> kubernetes.NamedFormat
format#qualifiedName() -> kubernetes.NamedFormat
format#dns1123LabelPrefix() -> kubernetes.NamedFormat
format#dns1123SubdomainPrefix() -> kubernetes.NamedFormat
format#dns1035LabelPrefix() -> kubernetes.NamedFormat
format#labelValue() -> kubernetes.NamedFormat
format#uri() -> kubernetes.NamedFormat
format#uuid() -> kubernetes.NamedFormat
format#byte() -> kubernetes.NamedFormat
format#date() -> kubernetes.NamedFormat
format#datetime() -> kubernetes.NamedFormat
format#named(string) -> optional_type(kubernetes.NamedFormat)
kubernetes.NamedFormat|validate(string) -> optional_type(list(string))
kubernetes.authorization.Authorizer|path(string) -> kubernetes.authorization.PathCheck
kubernetes.authorization.Authorizer|group(string) -> kubernetes.authorization.GroupCheck
kubernetes.authorization.Authorizer|serviceAccount(string; string) -> kubernetes.authorization.Authorizer
kubernetes.authorization.PathCheck|check(string) -> kubernetes.authorization.Decision
kubernetes.authorization.GroupCheck|resource(string) -> kubernetes.authorization.ResourceCheck
kubernetes.authorization.ResourceCheck|subresource(string) -> kubernetes.authorization.ResourceCheck
kubernetes.authorization.ResourceCheck|namespace(string) -> kubernetes.authorization.ResourceCheck
kubernetes.authorization.ResourceCheck|name(string) -> kubernetes.authorization.ResourceCheck
kubernetes.authorization.ResourceCheck|fieldSelector(string) -> kubernetes.authorization.ResourceCheck
kubernetes.authorization.ResourceCheck|labelSelector(string) -> kubernetes.authorization.ResourceCheck
kubernetes.authorization.ResourceCheck|check(string) -> kubernetes.authorization.Decision
kubernetes.authorization.Decision|errored() -> bool
kubernetes.authorization.Decision|error() -> string
kubernetes.authorization.Decision|allowed() -> bool
kubernetes.authorization.Decision|reason() -> string
jsonpatch#escapeKey(string) -> string
";
