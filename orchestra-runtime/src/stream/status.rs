//! How a command ended, as the status channel tells it.

use serde_json::{Value, json};

use crate::runtime::{Error, Result};

/// A command's or a container's end as `metav1.Status`, in the words of upstream's streaming server.
pub(crate) fn of_exit(ended: &Result<i32>) -> Value {
    match ended {
        Ok(0) => json!({"metadata": {}, "status": "Success"}),
        Ok(code) => json!({
            "metadata": {},
            "status": "Failure",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        }),
        Err(error) => failure(error),
    }
}

fn failure(error: &Error) -> Value {
    let why = error.describe();
    json!({
        "metadata": {},
        "status": "Failure",
        "message": format!("Internal error occurred: {why}"),
        "reason": "InternalError",
        "details": {"causes": [{"message": why}]},
        "code": 500,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_code_is_a_cause() {
        assert_eq!(of_exit(&Ok(0))["status"], "Success");
        let failed = of_exit(&Ok(7));
        assert_eq!(failed["reason"], "NonZeroExitCode");
        assert_eq!(failed.pointer("/details/causes/0/message"), Some(&json!("7")));
        assert_eq!(failed["message"], "command terminated with non-zero exit code: exit status 7");
        let error = of_exit(&Err(Error::Start("no such program".to_owned())));
        assert_eq!(error["message"], "Internal error occurred: no such program");
    }
}
