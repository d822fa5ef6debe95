//! The certificate authorities of a PEM file, for HTTP clients that trust them besides the system's.
//!
//! Owns reading the file. Who is trusted by them, and what an error is called, is the client's.

use reqwest::Certificate;
use std::{io, path::Path};

/// Reads the certificates, of which there must be one at least.
pub fn read(path: &Path) -> io::Result<Vec<Certificate>> {
    let found = Certificate::from_pem_bundle(&std::fs::read(path)?).map_err(io::Error::other)?;
    if found.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "no certificate in it"));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::read;
    use std::path::Path;

    #[test]
    fn a_file_without_certificates_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(read(file.path()).unwrap_err().to_string().contains("no certificate"));
        assert!(read(Path::new("/nonexistent.pem")).is_err());
    }
}
