//! What an image says of how it is run, as edits of the spec: what the spec says itself wins, as the
//! flags of `docker run` do.

use std::path::Path;

use crate::app::network;
use crate::error::{Error, Kind, Result};
use crate::image::oci::Config;
use crate::image::{self, Image};
use crate::plan::facts::Base;
use crate::spec::{Command, Ids, Mount, Spec, User, Variable, Who, Writable};
use crate::units::{AbsPath, Origin, Spanned, folded, visible};

/// Returns the spec with what its root, `base`, makes of it, and its image, if that changes anything.
///
/// # Errors
/// A user that the image does not have.
pub fn complete(spec: &Spec, image: Option<&Image>, base: &Base) -> Result<Option<Spec>> {
    let configured = configured(spec, image)?;
    Ok(network::settled(configured.as_ref().unwrap_or(spec), base, image.map(Image::eyes)).or(configured))
}

/// With what its image says where it says nothing.
fn configured(spec: &Spec, image: Option<&Image>) -> Result<Option<Spec>> {
    let Some((image, config)) = image.and_then(|image| Some((image, image.config.as_ref()?))) else {
        return Ok(None);
    };
    let mut spec = spec.clone();
    let mut env = variables(config);
    if spec.user.is_none() {
        user(&mut spec, (image, config), &mut env)?;
    }
    // The later of two of one name counts.
    env.append(&mut spec.env);
    spec.env = env;
    if spec.command.is_none() {
        let words: Vec<String> = config.entrypoint.iter().chain(&config.cmd).cloned().collect();
        if !words.is_empty() {
            spec.command = Some(Spanned::new(Command::Argv(words), Origin::Image));
        }
    }
    if spec.workdir.is_none() {
        workdir(&mut spec, (image, config));
    }
    Ok(Some(spec))
}

fn variables(config: &Config) -> Vec<Spanned<Variable>> {
    let pairs = config.env.iter().filter_map(|text| text.split_once('='));
    pairs.map(|(name, value)| variable(name, value)).collect()
}

fn variable(name: &str, value: &str) -> Spanned<Variable> {
    Spanned::new(Variable { name: name.to_owned(), value: value.to_owned() }, Origin::Image)
}

/// The user of the image, and the home and name that its own `/etc/passwd` gives them.
fn user(spec: &mut Spec, (image, config): (&Image, &Config), env: &mut Vec<Spanned<Variable>>) -> Result<()> {
    let Some(text) = config.user.as_deref().filter(|text| !text.is_empty()) else { return Ok(()) };
    let found = image::principal(image.eyes(), text)?.ok_or_else(|| {
        let message =
            format!("the image runs as `{}`, which its `/etc/passwd` or `/etc/group` does not have", visible(text));
        Error::new(Kind::Image, message).with_hint("write the user into the spec: `user 1000 1000`")
    })?;
    if (found.uid, found.gid) != (0, 0) {
        let who = Who::Numeric { uid: found.uid, gid: found.gid };
        spec.user = Some(Spanned::new(User { who, ids: Ids::Single }, Origin::Image));
    }
    if let Some((name, home)) = found.account {
        for (variable_name, value) in [("USER", name.as_str()), ("HOME", home.as_str())] {
            if !env.iter().any(|known| known.value.name == variable_name) {
                env.push(variable(variable_name, value));
            }
        }
    }
    Ok(())
}

/// As `docker run` does, `..` goes up by name, and a working directory that is not there is made, if the root can be
/// written to.
fn workdir(spec: &mut Spec, (image, config): (&Image, &Config)) {
    let path = config.workdir.as_deref().and_then(|text| AbsPath::new(folded(Path::new(text)).to_str()?).ok());
    let Some(path) = path.filter(|path| *path != AbsPath::root()) else { return };
    let read_only =
        spec.rootfs.as_ref().and_then(|rootfs| rootfs.value.writable.as_ref()).map(|it| it.value) == Some(Writable::No);
    let made = spec.mounts.iter().any(|mount| path.is_within(mount.value.destination()));
    if !read_only && !made && image::look(image.eyes(), &path) == image::Found::Missing {
        let mount = Mount::Dir { destination: path.clone(), mode: None };
        spec.mounts.insert(0, Spanned::new(mount, Origin::Image));
    }
    spec.workdir = Some(Spanned::new(path, Origin::Image));
}
