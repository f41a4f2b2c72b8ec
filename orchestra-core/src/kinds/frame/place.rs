//! Where in an object a rule looks.
//!
//! Rules look at hundreds of places of an object in which nothing is wrong, and say the path of those few where something
//! is. So a place knows the way there, and writes it out as a path when somebody asks.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::rc::Rc;

use crate::violation::FieldPath;

/// One step of the way down.
#[derive(Clone, Debug)]
pub(super) enum Step<'a> {
    /// A field that a rule names.
    Field(&'static str),
    /// A field that the object names.
    Own(Cow<'a, str>),
    /// An item of a list.
    Index(usize),
    /// A value of a map.
    Key(Cow<'a, str>),
}

/// A place, which others can lie below.
#[derive(Clone, Debug)]
pub(super) struct Place<'a> {
    way: Way<'a>,
    /// The same for those below, made for the first of them.
    shared: OnceCell<Rc<Shared>>,
    path: OnceCell<FieldPath>,
}

#[derive(Clone, Debug)]
enum Way<'a> {
    /// From here on; an empty path is the object itself.
    From(FieldPath),
    Down(Rc<Shared>, Step<'a>),
}

/// A place that those below it hold on to.
#[derive(Debug)]
pub(super) struct Shared(Way<'static>);

impl Place<'_> {
    /// A place whose path is known.
    pub(super) fn at(path: FieldPath) -> Self {
        Self::new(Way::From(path))
    }
}

impl<'a> Place<'a> {
    fn new(way: Way<'a>) -> Self {
        Self { way, shared: OnceCell::new(), path: OnceCell::new() }
    }

    /// One step further down.
    pub(super) fn below<'b>(&self, step: Step<'b>) -> Place<'b> {
        Place::new(Way::Down(Rc::clone(self.shared()), step))
    }

    /// What those below hold on to.
    fn shared(&self) -> &Rc<Shared> {
        self.shared.get_or_init(|| Rc::new(Shared(self.way.to_owned())))
    }

    /// How errors name this place.
    pub(super) fn path(&self) -> &FieldPath {
        match &self.way {
            Way::From(path) => path,
            way => self.path.get_or_init(|| way.path()),
        }
    }
}

impl Way<'_> {
    fn to_owned(&self) -> Way<'static> {
        match self {
            Self::From(path) => Way::From(path.clone()),
            Self::Down(above, step) => Way::Down(Rc::clone(above), step.to_owned()),
        }
    }

    fn path(&self) -> FieldPath {
        match self {
            Self::From(path) => path.clone(),
            Self::Down(above, step) => {
                let above = above.0.path();
                match step {
                    Step::Field(name) => above.child(name),
                    Step::Own(name) => above.child(name),
                    Step::Index(index) => above.index(*index),
                    Step::Key(key) => above.key(key),
                }
            }
        }
    }
}

impl Step<'_> {
    fn to_owned(&self) -> Step<'static> {
        match self {
            Self::Field(name) => Step::Field(name),
            Self::Own(name) => Step::Own(Cow::Owned(name.clone().into_owned())),
            Self::Index(index) => Step::Index(*index),
            Self::Key(key) => Step::Key(Cow::Owned(key.clone().into_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_written_as_errors_show_it() {
        let root = Place::at(FieldPath::root());
        let container =
            root.below(Step::Field("spec")).below(Step::Field("containers")).below(Step::Index(1));
        let limit = container.below(Step::Field("limits")).below(Step::Key("cpu".into()));
        assert_eq!(limit.path().as_str(), "spec.containers[1].limits[cpu]");
        assert_eq!(container.path().as_str(), "spec.containers[1]");
        assert_eq!(root.path().as_str(), "");
        let known = Place::at(FieldPath::new("template"));
        assert_eq!(known.below(Step::Field("metadata")).path().as_str(), "template.metadata");
    }
}
