//! Tests of the configuration reader.

use super::*;
use crate::profile::Profile;

const HEAD: &str = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n";

fn read(body: &str) -> Result<Vec<Profile>, String> {
    let scheduler = Scheduler::from_config(&format!("{HEAD}{body}"), "s.yaml", &PluginRegistry::default());
    scheduler.map(Scheduler::into_profiles).map_err(|error| error.to_string())
}

fn scorers(profile: &Profile) -> Vec<(String, u32)> {
    profile.score.iter().map(|scorer| (scorer.plugin.name().to_owned(), scorer.weight)).collect()
}

fn filters(profile: &Profile) -> Vec<String> {
    profile.filter.iter().map(|plugin| plugin.name().to_owned()).collect()
}

fn weights(list: &[(&str, u32)]) -> Vec<(String, u32)> {
    list.iter().map(|(name, weight)| ((*name).to_owned(), *weight)).collect()
}

#[test]
fn an_empty_configuration_is_the_default_profile() {
    let profiles = read("").unwrap();
    let default = Profile::default();
    assert_eq!(profiles.len(), 1);
    assert_eq!(scorers(&profiles[0]), scorers(&default));
    let profiles = read("profiles:\n- schedulerName: mine\n").unwrap();
    assert_eq!(&**profiles[0].name(), "mine");
    assert_eq!(scorers(&profiles[0]), scorers(&default));
    assert_eq!(filters(&profiles[0]), filters(&default));
    assert_eq!(profiles[0].requeue.len(), default.requeue.len());
    // With their arguments, too.
    let told = |profile: &Profile| {
        let Profile { filter, score, post_filter, pre_bind, .. } = profile;
        format!("{filter:?} {score:?} {post_filter:?} {pre_bind:?}")
    };
    assert_eq!(told(&profiles[0]), told(&default));
}

#[test]
fn weights_and_disabling_work_at_a_point() {
    let profiles = read(
        "profiles:
- plugins:
    score:
      disabled: [{name: NodeAffinity}, {name: PodTopologySpread}]
      enabled: [{name: NodeResourcesFit, weight: 7}]
",
    )
    .unwrap();
    let expected = [
        ("NodeResourcesFit", 7),
        ("TaintToleration", 3),
        ("InterPodAffinity", 2),
        ("DynamicResources", 2),
        ("NodeResourcesBalancedAllocation", 1),
        ("ImageLocality", 1),
    ];
    assert_eq!(scorers(&profiles[0]), weights(&expected));
    assert!(filters(&profiles[0]).contains(&"NodeAffinity".to_owned()));
}

#[test]
fn a_star_disables_everything_that_is_not_named() {
    let profiles = read(
        "profiles:
- plugins:
    filter: {disabled: [{name: '*'}], enabled: [{name: NodeName}]}
    multiPoint: {disabled: [{name: '*'}], enabled: [{name: PrioritySort}, {name: DefaultBinder}, {name: TaintToleration, weight: 9}]}
",
    )
    .unwrap();
    assert_eq!(filters(&profiles[0]), ["NodeName"]);
    assert_eq!(scorers(&profiles[0]), weights(&[("TaintToleration", 9)]));
}

#[test]
fn arguments_reach_their_plugin() {
    let profiles = read(
        "percentageOfNodesToScore: 40
podMaxBackoffSeconds: 30
profiles:
- pluginConfig:
  - name: NodeResourcesFit
    args:
      apiVersion: kubescheduler.config.k8s.io/v1
      kind: NodeResourcesFitArgs
      scoringStrategy: {type: MostAllocated, resources: [{name: cpu, weight: 3}]}
  - {name: VolumeBinding, args: {bindTimeoutSeconds: 5}}
",
    )
    .unwrap();
    assert_eq!(profiles[0].sampling, Sampling::Percent(40));
    let fit = profiles[0].score.iter().find(|scorer| scorer.plugin.name() == "NodeResourcesFit").unwrap();
    assert!(format!("{:?}", fit.plugin).contains("MostAllocated"));
    assert_eq!(profiles[0].pre_bind[0].patience(), Duration::from_secs(5));
}

#[test]
fn errors_name_file_line_and_field() {
    let registry = PluginRegistry::default();
    let known = registry.names().collect::<Vec<_>>().join(", ");
    for (body, expected) in [
        (
            "profiles:\n- plugins:\n    score:\n      enabled:\n      - name: Magic\n",
            format!(
                "s.yaml:7: profiles[0].plugins.score.enabled[0].name: unknown plugin \"Magic\"; known are {known}"
            ),
        ),
        (
            "profiles:\n- plugins:\n    bind:\n      enabled:\n      - name: NodeName\n",
            "s.yaml:7: profiles[0].plugins.bind.enabled[0].name: plugin \"NodeName\" does not extend bind"
                .into(),
        ),
        (
            "profiles:\n- schedulerName: a\n- schedulerName: a\n",
            "s.yaml:5: profiles[1].schedulerName: duplicate value: \"a\"".into(),
        ),
        (
            "percentageOfNodesToScore: 101\n",
            "s.yaml:3: percentageOfNodesToScore: not in valid range [0-100]".into(),
        ),
        (
            "podInitialBackoffSeconds: 5\npodMaxBackoffSeconds: 2\n",
            "s.yaml:4: podMaxBackoffSeconds: must be greater than or equal to PodInitialBackoffSeconds"
                .into(),
        ),
        (
            "profiles:\n- pluginConfig:\n  - name: NodeName\n    args: {x: 1}\n",
            "s.yaml:5: profiles[0].pluginConfig[0].args.x: this plugin takes no arguments".into(),
        ),
        (
            "profiles:\n- pluginConfig:\n  - name: NodeResourcesFit\n    args: {scoringStrategy: {type: RequestedToCapacityRatio}}\n",
            "s.yaml:5: profiles[0].pluginConfig[0].args.scoringStrategy.requestedToCapacityRatio: required for this type"
                .into(),
        ),
        (
            "profiles:\n- pluginConfig:\n  - name: NodeResourcesFit\n    args: {scoringStrategy: {requestedToCapacityRatio: {shape: []}}}\n",
            "s.yaml:5: profiles[0].pluginConfig[0].args.scoringStrategy.requestedToCapacityRatio: forbidden for this type"
                .into(),
        ),
        (
            "profiles:\n- plugins:\n    multiPoint:\n      disabled: [{name: DefaultBinder}]\n",
            "s.yaml:4: profiles[0]: profile \"default-scheduler\": no plugin binds pods".into(),
        ),
    ] {
        assert_eq!(read(body).unwrap_err(), expected, "{body}");
    }
}

#[test]
fn unknown_fields_and_broken_yaml_name_their_line() {
    for (body, line, part) in [
        ("profile: []\n", 3, "profile"),
        ("profiles:\n- plugins:\n    scores: {}\n", 5, "scores"),
        ("parallelism: many\n", 3, " parallelism: "),
        (
            "profiles:\n- plugins:\n    score:\n      enabled:\n      - name: ImageLocality\n        weight: -2\n",
            8,
            " profiles[0].plugins.score.enabled[0].weight: ",
        ),
        ("profiles: [\n", 3, "unclosed bracket"),
    ] {
        let error = read(body).unwrap_err();
        assert!(error.starts_with(&format!("s.yaml:{line}: ")) && error.contains(part), "{error}");
    }
    let wrong = Scheduler::from_config("apiVersion: v1\nkind: Pod\n", "x", &PluginRegistry::default());
    assert_eq!(wrong.unwrap_err().to_string(), format!("x:1: apiVersion: must be {API_VERSION:?}"));
}

#[test]
fn plugins_of_an_embedder_can_be_named() {
    let registry = PluginRegistry::default().with("Mine", |args| {
        if args["strict"].as_bool().is_none() {
            return Err(ArgumentError::new("strict", "must be true or false"));
        }
        Ok(crate::Registration::of(crate::plugins::NodeName).filter().into())
    });
    let config = |args: &str| {
        format!(
            "{HEAD}profiles:\n- pluginConfig: [{{name: Mine, args: {args}}}]\n  plugins: {{filter: {{enabled: [{{name: Mine}}]}}}}\n"
        )
    };
    let profiles = Scheduler::from_config(&config("{strict: true}"), "x", &registry).unwrap().into_profiles();
    assert_eq!(profiles[0].filter.len(), Profile::default().filter.len() + 1);
    let error = Scheduler::from_config(&config("{}"), "x", &registry).unwrap_err();
    assert_eq!(error.to_string(), "x:4: profiles[0].pluginConfig[0].args.strict: must be true or false");
}

#[test]
fn arguments_of_the_other_plugins_are_read_and_checked() {
    let with = |plugin: &str, args: &str| {
        read(&format!("profiles:\n- pluginConfig:\n  - name: {plugin}\n    args: {args}\n"))
    };
    for (plugin, args) in [
        ("InterPodAffinity", "{hardPodAffinityWeight: 50, ignorePreferredTermsOfExistingPods: true}"),
        (
            "PodTopologySpread",
            "{defaultingType: List, defaultConstraints: [{maxSkew: 1, topologyKey: z, whenUnsatisfiable: ScheduleAnyway}]}",
        ),
        ("DefaultPreemption", "{minCandidateNodesPercentage: 0, minCandidateNodesAbsolute: 5}"),
        ("DynamicResources", "{filterTimeout: 10s, bindingTimeout: 1h30m}"),
    ] {
        assert!(with(plugin, args).is_ok(), "{plugin}");
    }
    let at = "s.yaml:5: profiles[0].pluginConfig[0].args.";
    for (plugin, args, expected) in [
        (
            "InterPodAffinity",
            "{hardPodAffinityWeight: 101}",
            "hardPodAffinityWeight: not in valid range [0-100]",
        ),
        (
            "PodTopologySpread",
            "{defaultingType: List, defaultConstraints: [{maxSkew: 0, topologyKey: z, whenUnsatisfiable: ScheduleAnyway}]}",
            "defaultConstraints[0].maxSkew: not in valid range (0, inf)",
        ),
        (
            "PodTopologySpread",
            "{defaultConstraints: [{maxSkew: 1, topologyKey: z, whenUnsatisfiable: ScheduleAnyway}]}",
            "defaultingType: when .defaultConstraints are provided, .defaultingType must be \"List\"",
        ),
        (
            "DefaultPreemption",
            "{minCandidateNodesPercentage: 101}",
            "minCandidateNodesPercentage: not in valid range [0, 100]",
        ),
        ("DynamicResources", "{bindingTimeout: soon}", "bindingTimeout: \"soon\" is not a duration"),
    ] {
        assert_eq!(with(plugin, args).unwrap_err(), format!("{at}{expected}"), "{plugin}");
    }
}

#[test]
fn extenders_are_read_and_what_they_look_after_is_left_to_them() {
    let profiles = read(
        "extenders:
- {urlPrefix: 'http://127.0.0.1:1/x', filterVerb: filter, ignorable: true}
- urlPrefix: https://127.0.0.1:1/
  prioritizeVerb: points
  weight: 3
  bindVerb: bind
  enableHTTPS: true
  httpTimeout: 1m0.5s
  nodeCacheCapable: true
  managedResources: [{name: example.com/gpu, ignoredByScheduler: true}]
",
    )
    .unwrap();
    let extenders = &profiles[0].extenders;
    let names: Vec<_> = extenders.iter().map(|extender| extender.name().to_owned()).collect();
    assert_eq!(
        names,
        ["https://127.0.0.1:1/", "http://127.0.0.1:1/x"],
        "those that can be ignored come last"
    );
    let options = extenders[0].options();
    assert_eq!((options.filters, options.weight, options.binds, options.preempts), (false, 3, true, false));
    let fit = profiles[0].filter.iter().find(|plugin| plugin.name() == "NodeResourcesFit").unwrap();
    assert!(format!("{fit:?}").contains("example.com/gpu"), "{fit:?}");
}

#[test]
fn broken_extenders_name_their_field() {
    for (body, expected) in [
        ("{urlPrefix: 'http://x', prioritizeVerb: p}", "weight: must have a positive weight applied to it"),
        ("{urlPrefix: 'x'}", "urlPrefix: not a URL: scheme and host are needed"),
        ("{urlPrefix: 'http://x', httpTimeout: soon}", "httpTimeout: \"soon\" is not a duration"),
        (
            "{urlPrefix: 'http://x', managedResources: [{name: cpu}]}",
            "managedResources[0].name: invalid extended resource name: \"cpu\"",
        ),
        (
            "{urlPrefix: 'http://x', managedResources: [{name: a.b/c}, {name: a.b/c}]}",
            "managedResources[1].name: duplicate extender managed resource name",
        ),
        (
            "{urlPrefix: 'https://x', tlsConfig: {caFile: /nowhere/ca.crt}}",
            "tlsConfig.caFile: /nowhere/ca.crt: No such file or directory (os error 2)",
        ),
        (
            "{urlPrefix: 'https://x', tlsConfig: {caData: '???'}}",
            "tlsConfig.caFile: not base64: Invalid symbol 63, offset 0.",
        ),
        ("{urlPrefix: 'https://x', tlsConfig: {caData: aGk=}}", "tlsConfig: no certificate in it"),
        (
            "{urlPrefix: 'https://x', tlsConfig: {certData: aGk=}}",
            "tlsConfig: certificate and key go together",
        ),
    ] {
        let error = read(&format!("extenders:\n- {body}\n")).unwrap_err();
        assert_eq!(error, format!("s.yaml:4: extenders[0].{expected}"), "{body}");
    }
    let two = "extenders:\n- {urlPrefix: 'http://x', bindVerb: b}\n- {urlPrefix: 'http://y', bindVerb: b}\n";
    assert_eq!(
        read(two).unwrap_err(),
        "s.yaml:5: extenders[1].bindVerb: only one extender can implement bind"
    );
}
