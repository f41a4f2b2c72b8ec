//! Images of the process runtime: names in a table.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::runtime::{ContainerConfig, Error, Image, Result};

/// The name that stands for "run the container's command from the host's own files".
const HOST: &str = "host";

/// What a built-in image runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The executable on the host.
    pub path: PathBuf,
    /// Arguments before the container's own; a container's `command` replaces none of them.
    pub args: Vec<String>,
    /// Arguments when the container gives none.
    pub default_args: Vec<String>,
}

impl Program {
    /// A program without arguments of its own.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), args: Vec::new(), default_args: Vec::new() }
    }

    /// Puts `args` before the container's.
    #[must_use]
    pub fn with_args<I: IntoIterator<Item = S>, S: Into<String>>(mut self, args: I) -> Self {
        self.args = args.into_iter().map(Into::into).collect();
        self
    }
}

/// The table.
#[derive(Clone, Debug, Default)]
pub(super) struct Images {
    programs: BTreeMap<String, Program>,
}

impl Images {
    pub(super) fn insert(&mut self, name: &str, program: Program) {
        self.programs.insert(repository(name).to_owned(), program);
    }

    /// The image, or an error that says which there are.
    pub(super) fn resolve(&self, image: &str) -> Result<Image> {
        if image.is_empty() || image.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(Error::InvalidImageName(format!(
                "couldn't parse image name {image:?}: invalid reference format"
            )));
        }
        let name = repository(image);
        if name == HOST || self.programs.contains_key(name) {
            return Ok(Image { reference: format!("process://{name}"), size: 0 });
        }
        let known: Vec<&str> =
            self.programs.keys().map(String::as_str).chain(std::iter::once(HOST)).collect();
        Err(Error::Image(format!(
            "failed to pull image {image:?}: the process runtime downloads nothing and has only: {}",
            known.join(", ")
        )))
    }

    /// The command line of a container.
    pub(super) fn command_line(&self, config: &ContainerConfig) -> Result<Vec<String>> {
        let name = repository(&config.image);
        let mut line = Vec::new();
        match self.programs.get(name) {
            Some(program) => {
                // The entry point is the program; a container that brings its own command may name it or not.
                if config.command.is_empty() || !std::path::Path::new(&config.command[0]).is_absolute() {
                    line.push(program.path.to_string_lossy().into_owned());
                    line.extend(program.args.iter().cloned());
                    line.extend(config.command.iter().cloned());
                } else {
                    line.extend(config.command.iter().cloned());
                }
                if config.args.is_empty() && config.command.is_empty() {
                    line.extend(program.default_args.iter().cloned());
                } else {
                    line.extend(config.args.iter().cloned());
                }
            }
            None => {
                self.resolve(&config.image)?;
                line.extend(config.command.iter().chain(&config.args).cloned());
                if line.is_empty() {
                    return Err(Error::Config(
                        "no command specified: image \"host\" has no entry point".to_owned(),
                    ));
                }
            }
        }
        Ok(line)
    }
}

/// An image's name without tag, digest and the prefixes clients put in front.
fn repository(image: &str) -> &str {
    let image = image.split('@').next().unwrap_or(image);
    let image = match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => image,
    };
    let image = image.strip_prefix("docker.io/").unwrap_or(image);
    image.strip_prefix("library/").unwrap_or(image)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images() -> Images {
        let mut images = Images::default();
        images.insert("demo/web", Program::new("/bin/demo").with_args(["serve"]));
        images
    }

    fn config(image: &str, command: &[&str], args: &[&str]) -> ContainerConfig {
        let owned = |s: &[&str]| s.iter().map(|s| (*s).to_owned()).collect();
        ContainerConfig {
            image: image.into(),
            command: owned(command),
            args: owned(args),
            ..Default::default()
        }
    }

    #[test]
    fn tags_and_digests_do_not_matter() {
        for image in ["host", "host:latest", "docker.io/library/host:1", "host@sha256:00"] {
            assert_eq!(images().resolve(image).unwrap().reference, "process://host");
        }
        assert!(images().resolve("demo/web:v2").is_ok());
    }

    #[test]
    fn unknown_images_are_told_what_there_is() {
        let error = images().resolve("nginx").unwrap_err().to_string();
        assert!(error.contains("nginx") && error.ends_with("demo/web, host"), "{error}");
        assert!(matches!(images().resolve("a b"), Err(Error::InvalidImageName(_))));
        assert!(matches!(images().resolve(""), Err(Error::InvalidImageName(_))));
    }

    #[test]
    fn built_in_programs_get_the_containers_arguments() {
        let line = images().command_line(&config("demo/web:1", &[], &["--port", "80"])).unwrap();
        assert_eq!(line, ["/bin/demo", "serve", "--port", "80"]);
        let line = images().command_line(&config("demo/web", &["/bin/sh"], &["-c", "x"])).unwrap();
        assert_eq!(line, ["/bin/sh", "-c", "x"]);
    }

    #[test]
    fn the_host_image_needs_a_command() {
        assert_eq!(images().command_line(&config("host", &["sleep"], &["1"])).unwrap(), ["sleep", "1"]);
        assert!(matches!(images().command_line(&config("host", &[], &[])), Err(Error::Config(_))));
    }
}
