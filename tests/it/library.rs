//! The same cluster as a value in somebody else's program.

use std::process::Command;

use crate::harness::text;

#[test]
fn the_embedded_example_runs_as_an_ordinary_user_and_leaves_no_process() {
    // Built beside this test, as every example of the package is.
    let program =
        std::path::Path::new(env!("CARGO_BIN_EXE_orchestra")).with_file_name("examples").join("embedded");
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("embedded");
    std::fs::copy(&program, &copy).unwrap_or_else(|problem| panic!("{}: {problem}", program.display()));
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let root =
        std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    let mut command = if root {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&copy);
        command
    } else {
        Command::new(&copy)
    };
    // Every process of the cluster inherits this mark or is told it.
    let mark = folder.path().display().to_string();
    let output = command.env("TMPDIR", "/tmp").env("MARK", &mark).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("is Available"), "{}", text(&output.stdout));
    assert_eq!(crate::harness::processes_with(&mark), Vec::<u32>::new());
}
