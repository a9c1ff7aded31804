//! Disks that can be filled.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    Skip,
    process::{self, User},
};

/// A file system in memory that one process alone sees: it is mounted in a namespace of that process, and gone with it.
/// Who is not root may do that as well, where the kernel lets everybody have namespaces.
#[derive(Debug)]
pub(crate) struct SmallDisk {
    folder: PathBuf,
    mebibytes: u32,
    user: Option<User>,
}

/// Mounts a disk on a folder and becomes the program that follows.
const MOUNT: &str = r#"mount -t tmpfs -o "$1" tmpfs "$2" && shift 2 && exec "$@""#;

/// The same where who mounts is taken for root of the namespace, which servers refuse: the program is who it was.
const MOUNT_AS_ANYBODY: &str = r#"uid=$1 gid=$2 && shift 2 &&
    mount -t tmpfs -o "$1" tmpfs "$2" && shift 2 && exec unshare --map-user="$uid" --map-group="$gid" -- "$@""#;

impl SmallDisk {
    /// A disk that is to be mounted on a new folder, for a process that runs as a user if one is given.
    pub(crate) fn on(folder: PathBuf, mebibytes: u32, user: Option<&User>) -> Self {
        fs::create_dir(&folder).unwrap();
        Self { folder, mebibytes, user: user.cloned() }
    }

    /// Whether this machine can have such disks.
    pub(crate) fn check() -> Result<(), Skip> {
        let mut mount = Command::new("unshare");
        if !User::is_root() {
            mount.arg("--map-root-user");
        }
        mount.args(["--mount", "--", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]).stderr(Stdio::null());
        let refused = || Skip::because("the kernel lets nobody here have a mount of their own (unshare --mount)");
        if mount.status().is_ok_and(|status| status.success()) { Ok(()) } else { Err(refused()) }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A command, with the disk where it looks for it.
    pub(crate) fn mounted_for(&self, command: &Command, at_our_end: &str) -> Command {
        let mut options = format!("size={}m,mode=700", self.mebibytes);
        let mut mounting = process::command("unshare".as_ref(), None, at_our_end);
        if User::is_root() {
            if let Some(user) = &self.user {
                options += &format!(",uid={},gid={}", user.uid, user.gid);
            }
            mounting.args(["--mount", "--", "sh", "-c", MOUNT, "sh"]);
        } else {
            let (uid, gid) = User::ids();
            mounting.args(["--map-root-user", "--mount", "--", "sh", "-c", MOUNT_AS_ANYBODY, "sh"]);
            mounting.args([uid.to_string(), gid.to_string()]);
        }
        mounting.arg(options).arg(&self.folder).arg(command.get_program()).args(command.get_args());
        mounting
    }

    /// Leaves no byte free for a process that has it.
    pub(crate) fn fill(&self, process: u32) {
        let mut filler = File::options().append(true).create(true).open(self.filler(process)).unwrap();
        let full = loop {
            if let Err(error) = filler.write_all(&[0; 4_096]) {
                break error;
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::StorageFull, "{full}");
    }

    /// Frees what [`fill`](Self::fill) has taken.
    pub(crate) fn free(&self, process: u32) {
        fs::remove_file(self.filler(process)).unwrap();
    }

    /// Seen from outside, the disk is where the process sees it.
    fn filler(&self, process: u32) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{process}/root"));
        root.join(self.folder.strip_prefix("/").unwrap()).join("filler")
    }
}
