use super::*;

/// A host with these directories, files (no slash at the end) and links.
struct Fake(BTreeMap<PathBuf, Node>);

fn host(paths: &[&str]) -> Fake {
    let mut nodes = BTreeMap::from([(PathBuf::from("/"), Node::Directory)]);
    for path in paths {
        let (path, node) = match path.split_once("->") {
            Some((path, target)) => (path, Node::Link(PathBuf::from(target))),
            None if path.ends_with('/') => (path.trim_end_matches('/'), Node::Directory),
            None => (*path, Node::File),
        };
        nodes.insert(PathBuf::from(path), node);
    }
    Fake(nodes)
}

impl HostTree for Fake {
    fn target(&self, path: &Path) -> Option<Node> {
        let real = self.real(path).ok()?;
        self.0.get(&real).cloned()
    }
    fn real(&self, path: &Path) -> io::Result<PathBuf> {
        let mut real = PathBuf::from("/");
        for part in path.components().skip(1) {
            real.push(part);
            match self.0.get(&real) {
                Some(Node::Link(target)) => real = target.clone(),
                Some(_) => {}
                None => return Err(io::ErrorKind::NotFound.into()),
            }
        }
        Ok(real)
    }
    fn entries(&self, dir: &Path) -> io::Result<Vec<(OsString, Node)>> {
        let inside = self.0.iter().filter(|(p, _)| p.parent() == Some(dir));
        Ok(inside.filter_map(|(p, n)| Some((p.file_name()?.to_owned(), n.clone()))).collect())
    }
    fn mode(&self, _: &Path) -> u32 {
        0o40755
    }
}

fn mount(host_path: &str, container_path: &str) -> Mount {
    Mount { host_path: host_path.into(), container_path: container_path.into(), read_only: false }
}

/// The plan in one line for each step that matters.
fn steps(host: &Fake, mounts: &[Mount]) -> Result<Vec<String>, String> {
    let planned = plan(mounts, Path::new("/S"), host, (7, 8))?;
    let text = |c: &CString| c.to_str().unwrap().to_owned();
    let mut lines: Vec<String> =
        planned.prepare.iter().map(|(path, _)| format!("prepare {}", path.display())).collect();
    lines.extend(planned.plan.steps.iter().map(|step| match step {
        Step::Stage { .. } => "stage".to_owned(),
        Step::Directory(path) => format!("dir {}", text(path)),
        Step::File(path) => format!("file {}", text(path)),
        Step::Link { target, path } => format!("link {} {}", text(path), text(target)),
        Step::Show { from, to } => format!("show {} {}", text(from), text(to)),
        Step::Cover(path) => format!("cover {}", text(path)),
        Step::Pivot => "pivot".to_owned(),
        Step::Attach { source, to, .. } => {
            format!("attach {} {}", text(&planned.plan.sources[*source].path), text(to))
        }
    }));
    Ok(lines)
}

#[test]
fn an_existing_mount_path_is_covered_without_ceremony() {
    let host = host(&["/v/", "/srv/"]);
    assert_eq!(steps(&host, &[mount("/v", "/srv")]).unwrap(), ["attach /v /srv"]);
}

#[test]
fn a_missing_mount_path_at_the_top_makes_a_new_root() {
    let host = host(&["/v/", "/etc/", "/bin->/usr/bin", "/usr/", "/usr/bin/", "/vmlinuz"]);
    let want = [
        "stage",
        "link /S/bin /usr/bin",
        "dir /S/etc",
        "show /etc /S/etc",
        "dir /S/usr",
        "show /usr /S/usr",
        "dir /S/v",
        "show /v /S/v",
        "file /S/vmlinuz",
        "show /vmlinuz /S/vmlinuz",
        "dir /S/data",
        "dir /S/data/deep",
        "pivot",
        "attach /v /data/deep",
    ];
    assert_eq!(steps(&host, &[mount("/v", "/data/deep")]).unwrap(), want);
}

#[test]
fn a_missing_mount_path_further_down_mirrors_the_nearest_directory_only() {
    let host = host(&["/v", "/etc/", "/etc/passwd"]);
    let want = [
        "stage",
        "file /S/passwd",
        "show /etc/passwd /S/passwd",
        "dir /S/app",
        "file /S/app/conf",
        "cover /etc",
        "attach /v /etc/app/conf",
    ];
    assert_eq!(steps(&host, &[mount("/v", "/etc/app/conf")]).unwrap(), want);
}

#[test]
fn one_mirror_serves_many_mount_paths_and_outer_mirrors_come_first() {
    let host = host(&["/v/", "/etc/"]);
    let mounts = [mount("/v", "/etc/a"), mount("/v", "/etc/b"), mount("/v", "/top")];
    let steps = steps(&host, &mounts).unwrap();
    let index = |what: &str| steps.iter().position(|s| s == what).unwrap();
    assert_eq!(steps.iter().filter(|s| *s == "stage").count(), 2);
    assert!(index("pivot") < index("cover /etc") && index("cover /etc") < index("attach /v /etc/a"));
}

#[test]
fn a_mount_inside_another_volume_is_made_in_that_volume() {
    let host = host(&["/v/", "/w/", "/srv/"]);
    let mounts = [mount("/w", "/srv/deep/w"), mount("/v", "/srv")];
    let want = ["prepare /v/deep/w", "attach /v /srv", "attach /w /srv/deep/w"];
    assert_eq!(steps(&host, &mounts).unwrap(), want);
}

#[test]
fn links_in_a_mount_path_are_followed() {
    let host = host(&["/v/", "/run/", "/var/", "/var/run->/run"]);
    let steps = steps(&host, &[mount("/v", "/var/run/secrets")]).unwrap();
    assert_eq!(steps.last().unwrap(), "attach /v /run/secrets");
}

#[test]
fn what_cannot_be_mounted_is_said() {
    let host = host(&["/v/", "/f", "/srv/"]);
    for (mounts, want) in [
        (vec![mount("/gone", "/srv")], "volume /gone does not exist"),
        (vec![mount("/v", "/f")], "there is a file"),
        (vec![mount("/f", "/srv")], "there is a directory"),
        (vec![mount("/v", "/f/x")], "/f is not a directory"),
        (vec![mount("/v", "/")], "below /"),
        (vec![mount("/v", "srv")], "absolute"),
        (vec![mount("/v", "/srv/../x")], "without .."),
        (vec![mount("/v", "/srv"), mount("/v", "/srv")], "two volumes"),
    ] {
        let error = steps(&host, &mounts).unwrap_err();
        assert!(error.contains(want), "{error:?} does not say {want:?}");
    }
}
