//! Reads a policy file. What is wrong is told with its line and its field.

use serde::Deserialize;
use serde_yaml::Spanned;

use super::policy::{AuditLevel, AuditPolicy, AuditStage, GroupResources, Rule};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct File {
    api_version: String,
    kind: String,
    #[serde(default, rename = "metadata")]
    _metadata: Option<serde_json::Value>,
    #[serde(default)]
    rules: Vec<Spanned<FileRule>>,
    #[serde(default)]
    omit_stages: Vec<String>,
    #[serde(default)]
    omit_managed_fields: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct FileRule {
    #[serde(default)]
    level: String,
    #[serde(default)]
    users: Vec<String>,
    #[serde(default)]
    user_groups: Vec<String>,
    #[serde(default)]
    verbs: Vec<String>,
    #[serde(default)]
    resources: Vec<GroupResources>,
    #[serde(default)]
    namespaces: Vec<String>,
    #[serde(default, rename = "nonResourceURLs")]
    non_resource_urls: Vec<String>,
    #[serde(default)]
    omit_stages: Vec<String>,
    #[serde(default)]
    omit_managed_fields: Option<bool>,
}

/// The longest policy file that is read.
const MOST_BYTES: usize = 3 << 20;

impl AuditPolicy {
    /// Reads a policy, in YAML or JSON.
    ///
    /// # Errors
    /// One line that says what is wrong, in which field, and on which line.
    pub fn parse(text: &str) -> Result<Self, String> {
        // What is quoted from the file may have breaks of its own.
        Self::read(text).map_err(|problem| problem.replace(['\n', '\r'], " "))
    }

    fn read(text: &str) -> Result<Self, String> {
        if text.len() > MOST_BYTES {
            return Err(format!("is longer than {MOST_BYTES} bytes"));
        }
        let file: File = serde_yaml::from_str(text).map_err(|problem| {
            let said = problem.without_snippet().to_string();
            let first = said.lines().next().unwrap_or_default().to_owned();
            match problem.location() {
                Some(at) if !first.contains("line ") => {
                    format!("line {}, column {}: {first}", at.line(), at.column())
                }
                _ => first,
            }
        })?;
        if file.kind != "Policy" || file.api_version != "audit.k8s.io/v1" {
            return Err(format!("{} {} is no audit.k8s.io/v1 Policy", file.api_version, file.kind));
        }
        if file.rules.is_empty() {
            return Err("rules: loaded illegal policy with 0 rules".to_owned());
        }
        let rules = file.rules.into_iter().enumerate().map(|(nth, rule)| {
            let line = rule.referenced.line();
            rule.value.check(&format!("rules[{nth}]")).map_err(|problem| format!("line {line}: {problem}"))
        });
        Ok(Self {
            rules: rules.collect::<Result<_, _>>()?,
            omit_stages: stages(&file.omit_stages, "omitStages")?,
            omit_managed_fields: file.omit_managed_fields,
        })
    }
}

impl FileRule {
    fn check(self, at: &str) -> Result<Rule, String> {
        if self.level.is_empty() {
            return Err(format!("{at}.level: Required value"));
        }
        let level =
            AuditLevel::ALL.into_iter().find(|level| level.as_str() == self.level).ok_or_else(|| {
                unsupported(&format!("{at}.level"), &self.level, &AuditLevel::ALL.map(AuditLevel::as_str))
            })?;
        let about_objects = !self.resources.is_empty() || !self.namespaces.is_empty();
        if !self.non_resource_urls.is_empty() && about_objects {
            return Err(format!(
                "{at}.nonResourceURLs: Invalid value: {:?}: rules cannot apply to both regular resources and non-resource URLs",
                self.non_resource_urls
            ));
        }
        for (nth, url) in self.non_resource_urls.iter().enumerate().filter(|(_, url)| *url != "*") {
            let why = if !url.starts_with('/') {
                "non-resource URL rules must begin with a '/' character"
            } else if url.trim_end_matches('*').len() + 1 < url.len()
                || url.trim_end_matches('*').contains('*')
            {
                "non-resource URL wildcards '*' must be the final character of the rule"
            } else {
                continue;
            };
            return Err(format!("{at}.nonResourceURLs[{nth}]: Invalid value: {url:?}: {why}"));
        }
        for (nth, entry) in self.resources.iter().enumerate() {
            let at = format!("{at}.resources[{nth}]");
            if entry.group.contains('*') || entry.group.contains('/') {
                let group = &entry.group;
                return Err(format!(
                    "{at}.group: Invalid value: {group:?}: is the name of a group and nothing else"
                ));
            }
            if !entry.resource_names.is_empty() && entry.resources.is_empty() {
                let names = &entry.resource_names;
                return Err(format!(
                    "{at}.resourceNames: Invalid value: {names:?}: using resourceNames requires at least one resource"
                ));
            }
        }
        Ok(Rule {
            level,
            users: self.users,
            user_groups: self.user_groups,
            verbs: self.verbs,
            resources: self.resources,
            namespaces: self.namespaces,
            non_resource_urls: self.non_resource_urls,
            omit_stages: stages(&self.omit_stages, &format!("{at}.omitStages"))?,
            omit_managed_fields: self.omit_managed_fields,
        })
    }
}

fn stages(words: &[String], at: &str) -> Result<Vec<AuditStage>, String> {
    let read = words.iter().enumerate().map(|(nth, word)| {
        let known = AuditStage::ALL.into_iter().find(|stage| stage.as_str() == word);
        known.ok_or_else(|| {
            unsupported(&format!("{at}[{nth}]"), word, &AuditStage::ALL.map(AuditStage::as_str))
        })
    });
    read.collect()
}

fn unsupported(at: &str, word: &str, known: &[&str]) -> String {
    let known: Vec<String> = known.iter().map(|word| format!("{word:?}")).collect();
    format!("{at}: Unsupported value: {word:?}: supported values: {}", known.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(rules: &str) -> String {
        let text = format!("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n{rules}");
        AuditPolicy::parse(&text).unwrap_err()
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line_and_its_field() {
        for (rules, expected) in [
            ("- level: None\n- users: [a]\n", "line 5: rules[1].level: Required value"),
            (
                "- level: All\n",
                "line 4: rules[0].level: Unsupported value: \"All\": supported values: \"None\", \"Metadata\", \"Request\", \"RequestResponse\"",
            ),
            (
                "- level: None\n  omitStages: [Begin]\n",
                "line 4: rules[0].omitStages[0]: Unsupported value: \"Begin\": supported values: \"RequestReceived\", \"ResponseStarted\", \"ResponseComplete\", \"Panic\"",
            ),
            (
                "- level: None\n  nonResourceURLs: [/a]\n  namespaces: [b]\n",
                "line 4: rules[0].nonResourceURLs: Invalid value: [\"/a\"]: rules cannot apply to both regular resources and non-resource URLs",
            ),
            (
                "- level: None\n  nonResourceURLs: ['/a*b']\n",
                "line 4: rules[0].nonResourceURLs[0]: Invalid value: \"/a*b\": non-resource URL wildcards '*' must be the final character of the rule",
            ),
            (
                "- level: None\n  resources: [{resourceNames: [x]}]\n",
                "line 4: rules[0].resources[0].resourceNames: Invalid value: [\"x\"]: using resourceNames requires at least one resource",
            ),
        ] {
            assert_eq!(problem(rules), expected);
        }
        let unknown = problem("- level: None\n  user: [a]\n");
        assert!(unknown.contains("line 5") && unknown.contains("user"), "{unknown}");
        let empty = AuditPolicy::parse("apiVersion: audit.k8s.io/v1\nkind: Policy\n").unwrap_err();
        assert_eq!(empty, "rules: loaded illegal policy with 0 rules");
        let other = AuditPolicy::parse("apiVersion: v1\nkind: Pod\n").unwrap_err();
        assert_eq!(other, "v1 Pod is no audit.k8s.io/v1 Policy");
    }

    #[test]
    fn what_is_wrong_is_one_line_whatever_the_file_says() {
        for kind in ["'Policy\n\n  or not'", "\"a\\r\\nb\""] {
            let problem = AuditPolicy::parse(&format!("apiVersion: v1\nkind: {kind}\n")).unwrap_err();
            assert!(!problem.contains(['\n', '\r']), "{problem:?}");
        }
    }
}
