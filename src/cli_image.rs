//! The part of the command line that is about images: its doc comments are help, man page and completions.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub struct Image {
    #[command(subcommand)]
    pub verb: ImageVerb,
    #[command(flatten)]
    pub store: Place,
    /// Write JSON
    #[arg(long, global = true)]
    pub json: bool,
}

/// Where images and volumes are.
#[derive(Debug, Clone, Args, Default, PartialEq, Eq)]
pub struct Place {
    /// Keep images and volumes in DIR, instead of SBX_STORE or the usual place
    #[arg(long, value_name = "DIR", global = true)]
    pub store: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum ImageVerb {
    /// List the images of the store
    #[command(visible_alias = "ls")]
    List,
    /// Get an image into the store and print its digest
    Pull {
        /// As in `rootfs`: `docker://HOST/NAME:TAG`, `oci:DIR:TAG`, `docker-archive:FILE`, an archive
        source: String,
        /// Choose from an image for several: OS/ARCHITECTURE[/VARIANT]
        #[arg(long)]
        platform: Option<String>,
    },
    /// Show what an image is made of and how it is run, as JSON
    Inspect {
        /// Names, sources, or the beginnings of digests
        #[arg(required = true)]
        image: Vec<String>,
    },
    /// Read everything in the store again and say what is damaged; exit status 1 if anything is
    Verify {
        /// Only what these images need
        image: Vec<String>,
        /// Remove what is damaged, so that the next run imports it again
        #[arg(long)]
        repair: bool,
    },
    /// Remove images by name or digest, and the layers that no other image needs
    #[command(visible_alias = "rm")]
    Remove {
        #[arg(required = true)]
        image: Vec<String>,
    },
    /// Remove what no image needs, and images that were not used for a while
    Prune {
        /// Images too that were not used for this time, as in `30d`
        #[arg(long, value_name = "TIME")]
        older_than: Option<String>,
    },
    /// Show what the parts of the store take on disk
    Du,
    /// Write an image that has one layer more than its base, such as what `changes` kept
    Append(Append),
}

#[derive(Debug, Args)]
pub struct Append {
    /// The image below, as `rootfs` names it; a directory or a tar becomes its only layer
    #[arg(value_name = "BASE")]
    pub base: String,
    /// A tar of files and whiteouts, plain or packed with gzip or zstd
    #[arg(value_name = "LAYER")]
    pub layer: PathBuf,
    /// Where the image goes: an OCI layout, made if it is not there; the tag is `latest` if none is given
    #[arg(value_name = "oci:DIRECTORY[:TAG]")]
    pub target: String,
    /// Set a variable of the image (can be repeated)
    #[arg(long, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// Set a word of the entrypoint (can be repeated, one word each); the base's command goes with its entrypoint
    #[arg(long, value_name = "WORD")]
    pub entrypoint: Vec<String>,
    /// Set a word of the command (can be repeated, one word each)
    #[arg(long, value_name = "WORD")]
    pub cmd: Vec<String>,
    /// Set the user: a name or a number, with or without `:GROUP`
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
    /// Set the working directory
    #[arg(long, value_name = "PATH")]
    pub workdir: Option<String>,
    /// Add a label (can be repeated)
    #[arg(long, value_name = "NAME=VALUE")]
    pub label: Vec<String>,
    /// Choose one of a base for several platforms
    #[arg(long, value_name = "OS/ARCHITECTURE")]
    pub platform: Option<String>,
}
