//! Which device of all: by driver, pool and name, and share of it.

use serde_json::Value;

use crate::kinds::frame::View;
use crate::violation::{FieldPath, Reason, Violation};

/// A device, or a share of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Identity<'a> {
    driver: &'a str,
    pool: &'a str,
    device: &'a str,
    share: &'a str,
}

impl<'a> Identity<'a> {
    /// Of a result of an allocation, or of a state of a device.
    pub(super) fn of(device: &View<'a>) -> Self {
        let text = |field| device.get(field).text();
        Self { driver: text("driver"), pool: text("pool"), device: text("device"), share: text("shareID") }
    }

    /// As Go writes the value: the fields of upstream's type, in their order.
    fn shown(self) -> String {
        let text = |text: &str| Value::from(text).to_string();
        let Self { driver, pool, device, share } = self;
        format!(
            r#"{{"Driver":{},"Pool":{},"Device":{},"ShareID":{}}}"#,
            text(driver),
            text(pool),
            text(device),
            text(share)
        )
    }

    /// That there is one like it already.
    pub(super) fn repeated(self, path: &FieldPath) -> Violation {
        Violation { path: path.clone(), reason: Reason::Duplicate, value: None, detail: self.shown() }
    }

    /// That it is none of those it should be of.
    pub(super) fn invalid(self, path: &FieldPath, detail: &str) -> Violation {
        let detail = format!("{}: {detail}", self.shown());
        Violation { path: path.clone(), reason: Reason::Invalid, value: None, detail }
    }
}
