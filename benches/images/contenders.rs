//! What is held against what: groups of commands that do the same work.

use crate::Fault;
use crate::yard::Yard;

/// One command line.
pub(crate) struct Contender {
    pub(crate) label: &'static str,
    /// What has to be done first and is not measured.
    pub(crate) before: Vec<Vec<String>>,
    pub(crate) argv: Vec<String>,
}

/// Contenders of one table.
pub(crate) struct Group {
    pub(crate) title: &'static str,
    pub(crate) contenders: Vec<Contender>,
}

fn contender(label: &'static str, argv: &[&str]) -> Contender {
    Contender { label, before: Vec::new(), argv: argv.iter().map(|word| (*word).to_owned()).collect() }
}

/// Returns all groups. The first of each is sbx.
///
/// # Errors
/// Specs that cannot be written.
pub(crate) fn all(yard: &Yard) -> Result<Vec<Group>, Fault> {
    let mut groups = Vec::new();
    for (title, file, unpack) in [
        ("A root as tar.gz", "debian.tar.gz", "-xzf"),
        ("A root as tar.zst", "debian.tar.zst", "--zstd"),
        ("A root as tar.xz", "debian.tar.xz", "-xJf"),
        ("A root as tar", "debian.tar", "-xf"),
    ] {
        let archive = yard.path(file);
        let out = yard.out("");
        let tar: &[&str] = match unpack {
            "--zstd" => &["tar", "-C", &out, "--zstd", "-xf", &archive],
            _ => &["tar", "-C", &out, unpack, &archive],
        };
        let script = format!("{} && sync -f {out}", tar.join(" "));
        let me = std::env::current_exe()?.display().to_string();
        let run = yard.sbx(file, &archive)?;
        let mut contenders = vec![
            contender("sbx", &[&yard.program(), "run", &run]),
            contender("tar", tar),
            contender("tar and `sync -f`", &["sh", "-c", &script]),
        ];
        if unpack != "-xf" {
            contenders.push(contender("the decoder of sbx alone", &[&me, "--decode", &archive]));
        }
        groups.push(Group { title, contenders });
    }
    groups.push(layout(yard)?);
    groups.push(docker(yard)?);
    groups.push(shared(yard)?);
    Ok(groups)
}

fn layout(yard: &Yard) -> Result<Group, Fault> {
    let run = yard.sbx("layout", &format!("oci:{}:all", yard.path("layout")))?;
    let image = format!("{}:all", yard.path("layout"));
    let bundle = yard.out("bundle");
    Ok(Group {
        title: "An OCI layout of ten gzip layers",
        contenders: vec![
            contender("sbx", &[&yard.program(), "run", &run]),
            contender("umoci unpack", &["umoci", "unpack", "--image", &image, &bundle]),
            contender(
                "skopeo copy to another layout",
                &["skopeo", "copy", "-q", &format!("oci:{image}"), &format!("oci:{}:all", yard.out("copy"))],
            ),
        ],
    })
}

fn docker(yard: &Yard) -> Result<Group, Fault> {
    let archive = format!("docker-archive:{}", yard.path("docker.tar"));
    let run = yard.sbx("docker", &archive)?;
    let copy = format!("oci:{}:all", yard.out("copy"));
    let script = format!(
        "skopeo copy -q {archive} {copy} && umoci unpack --image {}:all {}",
        yard.out("copy"),
        yard.out("bundle")
    );
    Ok(Group {
        title: "The same as `docker save` packs it",
        contenders: vec![
            contender("sbx", &[&yard.program(), "run", &run]),
            contender("skopeo copy to a layout", &["skopeo", "copy", "-q", &archive, &copy]),
            contender("and umoci unpack", &["sh", "-c", &script]),
        ],
    })
}

/// Two images that share nine layers of ten.
fn shared(yard: &Yard) -> Result<Group, Fault> {
    let first = yard.sbx("layout", &format!("oci:{}:all", yard.path("layout")))?;
    let second = yard.sbx("other", &format!("oci:{}:other", yard.path("layout")))?;
    let import = |spec: &str| vec![yard.program(), "run".to_owned(), spec.to_owned()];
    let again =
        Contender { label: "sbx, nine layers of ten there", before: vec![import(&first)], argv: import(&second) };
    let warm = Contender { label: "sbx, all there", before: vec![import(&second)], argv: import(&second) };
    let one = format!("oci:{}:one", yard.path("layout"));
    Ok(Group {
        title: "An image that shares nine layers of ten",
        contenders: vec![
            again,
            contender("sbx, empty store", &import(&second).iter().map(String::as_str).collect::<Vec<_>>()),
            contender("sbx image pull, of the new layer alone", &[&yard.program(), "image", "pull", &one]),
            warm,
        ],
    })
}
