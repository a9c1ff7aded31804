//! Who runs migrations, and where.

use std::{fs, sync::LazyLock};

/// This process, as others are told of it.
pub(super) struct Who {
    pub(super) os_user: String,
    pub(super) host: String,
    pub(super) program: &'static str,
}

/// Tells of this process.
pub(super) fn who() -> &'static Who {
    static WHO: LazyLock<Who> = LazyLock::new(|| Who {
        os_user: os_user(),
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        program: concat!("seabed ", env!("CARGO_PKG_VERSION")),
    });
    &WHO
}

/// The name of the user that this process runs as; its number, where it has none.
fn os_user() -> String {
    let id = rustix::process::geteuid().as_raw().to_string();
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id).then(|| name.to_owned())
    });
    named.unwrap_or(id)
}
