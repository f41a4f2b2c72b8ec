//! `kubectl create` and what comes under it.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::harness::Cluster;

/// What is created, and what it is called then; names of files stand for those in the cluster's folder.
const CREATED: &[(&str, &str)] = &[
    ("namespace shop", "namespace/shop"),
    ("configmap settings --from-literal=colour=teal --from-file=FILE", "configmap/settings"),
    ("secret generic keys --from-literal=a=b --from-file=FILE", "secret/keys"),
    ("secret tls cert --cert=CERT --key=KEY", "secret/cert"),
    (
        "secret docker-registry pull --docker-server=example.com --docker-username=u --docker-password=p",
        "secret/pull",
    ),
    ("serviceaccount clerk", "serviceaccount/clerk"),
    ("service clusterip inner --tcp=80:8080", "service/inner"),
    ("service nodeport outer --tcp=80:8080", "service/outer"),
    ("service loadbalancer shared --tcp=80:8080", "service/shared"),
    ("service externalname other --external-name=example.com", "service/other"),
    ("deployment web --image=host --replicas=0 --port=8080", "deployment.apps/web"),
    ("job once --image=host -- true", "job.batch/once"),
    ("cronjob yearly --image=host --schedule=@yearly -- true", "cronjob.batch/yearly"),
    ("ingress web --rule=shop.localhost/*=inner:80,tls=cert", "ingress.networking.k8s.io/web"),
    ("poddisruptionbudget web --selector=app=web --min-available=1", "poddisruptionbudget.policy/web"),
    ("priorityclass high --value=1000 --description=first", "priorityclass.scheduling.k8s.io/high"),
    ("quota small --hard=configmaps=20,secrets=20", "resourcequota/small"),
    ("role reader --verb=get,list --resource=pods,pods/log", "role.rbac.authorization.k8s.io/reader"),
    (
        "rolebinding readers --role=reader --serviceaccount=default:clerk --user=jane",
        "rolebinding.rbac.authorization.k8s.io/readers",
    ),
    (
        "clusterrole health --verb=get --non-resource-url=/healthz",
        "clusterrole.rbac.authorization.k8s.io/health",
    ),
    (
        "clusterrolebinding health --clusterrole=health --group=doctors",
        "clusterrolebinding.rbac.authorization.k8s.io/health",
    ),
];

#[test]
fn every_subcommand_of_create_makes_its_object() {
    let cluster = Cluster::start();
    let folder = cluster.folder.path();
    let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    fs::write(file("file"), "contents").unwrap();
    // A key pair that is at hand: the administrator's.
    for (name, field) in [("cert", "client-certificate-data"), ("key", "client-key-data")] {
        let path = format!("jsonpath={{.users[0].user.{field}}}");
        let encoded = cluster.kubectl(&["config", "view", "--raw", "-o", &path]);
        fs::write(file(name), STANDARD.decode(encoded).unwrap()).unwrap();
    }
    for (command, name) in CREATED {
        let command = command
            .replace("FILE", &file("file"))
            .replace("CERT", &file("cert"))
            .replace("KEY", &file("key"));
        let words: Vec<&str> = std::iter::once("create").chain(command.split(' ')).collect();
        // Once as the server would make it, then in truth, then there is one.
        let (own, program) =
            words.split_at(words.iter().position(|word| *word == "--").unwrap_or(words.len()));
        let dry = [own, &["--dry-run=server", "-o", "name"], program].concat();
        assert_eq!(cluster.kubectl(&dry), format!("{name}\n"), "{command}");
        assert!(cluster.kubectl(&words).starts_with(&format!("{name} created")), "{command}");
        assert!(cluster.kubectl_fails(&words).contains("already exists"), "{command}");
        assert_eq!(cluster.kubectl(&["get", name, "-o", "name"]), format!("{name}\n"));
    }
    let token = cluster.kubectl(&["create", "token", "clerk", "--duration=1h", "--audience=shop"]);
    assert_eq!(token.trim().split('.').count(), 3, "{token}");
    assert_eq!(cluster.kubectl(&["get", "secret", "cert", "-o", "jsonpath={.type}"]), "kubernetes.io/tls");
    let found =
        cluster.kubectl(&["get", "configmap", "settings", "-o", "jsonpath={.data.colour} {.data.file}"]);
    assert_eq!(found, "teal contents");
}
