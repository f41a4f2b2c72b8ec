//! The fields of a `KubeSchedulerConfiguration`, with the lines they stand on.

use serde::Deserialize;
use serde_json::Value;

pub(super) use serde_yaml::Spanned;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Configuration {
    pub(super) api_version: Spanned<String>,
    pub(super) kind: Spanned<String>,
    pub(super) parallelism: Option<Spanned<i64>>,
    pub(super) percentage_of_nodes_to_score: Option<Spanned<i64>>,
    pub(super) pod_initial_backoff_seconds: Option<Spanned<i64>>,
    pub(super) pod_max_backoff_seconds: Option<Spanned<i64>>,
    #[serde(default)]
    pub(super) profiles: Vec<Spanned<ProfileShape>>,
    #[serde(default)]
    pub(super) extenders: Vec<Spanned<ExtenderShape>>,
    #[serde(rename = "leaderElection")]
    _leader_election: Option<Value>,
    #[serde(rename = "clientConnection")]
    _client_connection: Option<Value>,
    #[serde(rename = "enableProfiling")]
    _enable_profiling: Option<bool>,
    #[serde(rename = "enableContentionProfiling")]
    _enable_contention_profiling: Option<bool>,
    #[serde(rename = "delayCacheUntilActive")]
    _delay_cache_until_active: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct ExtenderShape {
    pub(super) url_prefix: String,
    pub(super) filter_verb: String,
    pub(super) preempt_verb: String,
    pub(super) prioritize_verb: String,
    pub(super) weight: i64,
    pub(super) bind_verb: String,
    #[serde(rename = "enableHTTPS")]
    pub(super) enable_https: bool,
    pub(super) tls_config: Option<TlsShape>,
    pub(super) http_timeout: Option<String>,
    pub(super) node_cache_capable: bool,
    pub(super) managed_resources: Vec<ManagedShape>,
    pub(super) ignorable: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct TlsShape {
    pub(super) insecure: bool,
    pub(super) server_name: String,
    pub(super) cert_file: String,
    pub(super) key_file: String,
    pub(super) ca_file: String,
    pub(super) cert_data: String,
    pub(super) key_data: String,
    pub(super) ca_data: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ManagedShape {
    pub(super) name: String,
    #[serde(default)]
    pub(super) ignored_by_scheduler: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ProfileShape {
    pub(super) scheduler_name: Option<String>,
    pub(super) percentage_of_nodes_to_score: Option<Spanned<i64>>,
    #[serde(default)]
    pub(super) plugins: PluginsShape,
    #[serde(default)]
    pub(super) plugin_config: Vec<Spanned<ArgumentsShape>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct PluginsShape {
    pub(super) pre_enqueue: Choice,
    pub(super) queue_sort: Choice,
    pub(super) pre_filter: Choice,
    pub(super) filter: Choice,
    pub(super) post_filter: Choice,
    pub(super) pre_score: Choice,
    pub(super) score: Choice,
    pub(super) reserve: Choice,
    pub(super) permit: Choice,
    pub(super) pre_bind: Choice,
    pub(super) bind: Choice,
    pub(super) post_bind: Choice,
    pub(super) multi_point: Choice,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Choice {
    pub(super) enabled: Vec<Spanned<Named>>,
    pub(super) disabled: Vec<Spanned<Named>>,
}

impl Choice {
    pub(super) fn disables(&self, name: &str) -> bool {
        self.disabled.iter().any(|one| one.value.name == name || one.value.name == "*")
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Named {
    pub(super) name: String,
    #[serde(default)]
    pub(super) weight: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ArgumentsShape {
    pub(super) name: String,
    #[serde(default)]
    pub(super) args: Value,
}
