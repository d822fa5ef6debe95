//! Where the programs of a bench are, and where its results go.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// The programs, and the directory for results.
#[derive(Debug, Clone)]
pub(crate) struct Tools {
    /// This program.
    pub(crate) own: PathBuf,
    /// `imin-customer-worker`.
    pub(crate) worker: PathBuf,
    /// `imin-sandbox`.
    pub(crate) sandbox: PathBuf,
    /// Where `benches/peers/prepare.sh` puts the peers.
    pub(crate) peers: PathBuf,
    /// Results, logs, and the runs' own directories.
    pub(crate) out: PathBuf,
}

impl Tools {
    /// The programs of the same build as this one: it is `target/PROFILE/examples/bench`.
    pub(crate) fn find(out: Option<&Path>) -> Result<Self> {
        let own = std::env::current_exe()?;
        let profile = own.parent().and_then(Path::parent).context("this program has no place")?.to_owned();
        let target = profile.parent().context("this program is in no target directory")?;
        let tools = Self {
            worker: profile.join("imin-customer-worker"),
            sandbox: profile.join("imin-sandbox"),
            peers: target.join("bench/peers"),
            out: out.map_or_else(|| target.join("bench"), Path::to_owned),
            own,
        };
        std::fs::create_dir_all(&tools.out)?;
        Ok(tools)
    }
}
