//! Policy files of the audit log: a policy, or one line that says what is wrong.
#![no_main]

use audit::policy::AuditPolicy;
use libfuzzer_sys::fuzz_target;

// So that what is named in here is found from this folder.
#[path = "."]
mod audit {
    // Only these files of the server: the rest of it takes minutes to build.
    #[path = "../../orchestra-apiserver/src/audit/policy.rs"]
    #[allow(dead_code, reason = "the server asks the policy, the target only reads it")]
    pub mod policy;
    #[path = "../../orchestra-apiserver/src/audit/read.rs"]
    mod read;
}

mod auth {
    pub struct User {
        pub name: String,
        pub groups: Vec<String>,
    }

    impl std::fmt::Debug for User {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(&self.name)
        }
    }
}

#[path = "../../orchestra-apiserver/src/query.rs"]
#[allow(dead_code, reason = "the server calls what the target does not")]
mod query;
#[path = "../../orchestra-apiserver/src/request.rs"]
#[allow(dead_code, reason = "the server calls what the target does not")]
mod request;
#[path = "../../orchestra-apiserver/src/status.rs"]
#[allow(dead_code, reason = "the server calls what the target does not")]
mod status;

#[allow(dead_code, reason = "the server makes these")]
mod admission {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Operation {
        Create,
        Update,
        Delete,
        Connect,
    }
}

fuzz_target!(
    init: orchestra_fuzz::plant("audit_policy", seeds()),
    |text: &str| {
        if let Err(problem) = AuditPolicy::parse(text) {
            assert!(!problem.is_empty() && !problem.contains('\n'), "{problem:?}");
        }
    }
);

fn seeds() -> Vec<Vec<u8>> {
    let head = "apiVersion: audit.k8s.io/v1\nkind: Policy\n";
    [
        "rules:\n- level: Metadata\n",
        "omitStages: [RequestReceived]\nrules:\n- level: None\n  users: [a]\n  verbs: [get]\n- level: RequestResponse\n  resources: [{group: apps, resources: ['deployments/*'], resourceNames: [x]}]\n",
        "rules:\n- level: Request\n  nonResourceURLs: ['/healthz*', '*']\n  omitManagedFields: true\n",
        "rules: &a [*a]\n",
        "rules:\n- {level: All}\n",
    ]
    .iter()
    .map(|rules| format!("{head}{rules}").into_bytes())
    .collect()
}
