//! The archive: written from a folder, read into one, with every byte checked.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;

use super::manifest::{FORMAT, Manifest, Member};
use super::{BackupError, at, member};
use crate::files;

/// No manifest is longer.
const LONGEST_MANIFEST: u64 = 64 * 1024;

/// The members that stand in `folder`, with their checksums.
pub(super) fn members(folder: &Path) -> Result<Vec<Member>, BackupError> {
    let mut members = Vec::new();
    for name in member::ALL {
        let path = folder.join(name);
        if !path.exists() {
            continue;
        }
        let mut file = File::open(&path).map_err(at(&path))?;
        let (size, sha256) = copy(&mut file, &mut io::sink()).map_err(at(&path))?;
        members.push(Member {
            name: (*name).to_owned(),
            size,
            sha256,
        });
    }
    Ok(members)
}

/// Writes the archive of `manifest` and of its members, which stand in `folder`, and syncs it.
pub(super) fn write(to: &Path, manifest: &Manifest, folder: &Path) -> Result<(), BackupError> {
    let mtime = u64::try_from(manifest.created_at.as_seconds()).unwrap_or(0);
    let written = || -> io::Result<()> {
        let mut archive = tar::Builder::new(files::create_private(to)?);
        let text = serde_json::to_vec_pretty(manifest)?;
        let mut head = header(text.len() as u64, mtime);
        archive.append_data(&mut head, member::MANIFEST, text.as_slice())?;
        for member in &manifest.files {
            let file = File::open(folder.join(&member.name))?;
            let mut head = header(member.size, mtime);
            archive.append_data(&mut head, &member.name, file.take(member.size))?;
        }
        archive.into_inner()?.sync_all()
    };
    written().map_err(at(to))
}

fn header(size: u64, mtime: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o600);
    header.set_mtime(mtime);
    header
}

/// What the archive says of itself.
pub(super) fn manifest(from: &Path) -> Result<Manifest, BackupError> {
    let file = File::open(from).map_err(at(from))?;
    let mut archive = tar::Archive::new(file);
    let first = archive.entries().ok().and_then(|mut all| all.next());
    let first = first.and_then(Result::ok);
    read_manifest(first).ok_or_else(|| damaged(from, "it does not begin with a manifest"))
}

fn read_manifest(entry: Option<tar::Entry<'_, File>>) -> Option<Manifest> {
    let entry = entry?;
    if entry.path().ok()?.to_str() != Some(member::MANIFEST) {
        return None;
    }
    let mut text = Vec::new();
    entry.take(LONGEST_MANIFEST).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Unpacks the members into `folder`. Nothing that the manifest does not name is written, and nothing that differs from
/// it is accepted.
pub(super) fn unpack(from: &Path, folder: &Path) -> Result<Manifest, BackupError> {
    let manifest = manifest(from)?;
    if manifest.format != FORMAT {
        return Err(damaged(from, "it was written by a newer release"));
    }
    let broken = |error: io::Error| damaged(from, &error.to_string());
    let mut archive = tar::Archive::new(File::open(from).map_err(at(from))?);
    let mut seen: Vec<&str> = Vec::new();
    for entry in archive.entries().map_err(broken)?.skip(1) {
        let mut entry = entry.map_err(broken)?;
        let path = entry.path().map_err(broken)?.into_owned();
        let named = |member: &&Member| {
            path.to_str() == Some(&member.name) && member::ALL.contains(&member.name.as_str())
        };
        let expected = manifest.files.iter().find(named);
        let expected = expected.filter(|member| !seen.contains(&member.name.as_str()));
        let Some(expected) = expected else {
            let name = path.display();
            return Err(damaged(from, &format!("{name} does not belong there")));
        };
        let to = folder.join(&expected.name);
        let mut file = files::create_private(&to).map_err(at(&to))?;
        let (size, sha256) = copy(&mut entry, &mut file).map_err(broken)?;
        if (size, &sha256) != (expected.size, &expected.sha256) {
            let name = &expected.name;
            return Err(damaged(from, &format!("the checksum of {name} is wrong")));
        }
        file.sync_all().map_err(at(&to))?;
        seen.push(&expected.name);
    }
    if let Some(missing) = manifest
        .files
        .iter()
        .find(|member| !seen.contains(&member.name.as_str()))
    {
        return Err(damaged(from, &format!("{} is missing", missing.name)));
    }
    Ok(manifest)
}

fn damaged(path: &Path, why: &str) -> BackupError {
    BackupError::Damaged {
        path: path.to_owned(),
        why: why.to_owned(),
    }
}

/// How many bytes went from one to the other, and their SHA-256.
fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<(u64, String)> {
    let mut context = digest::Context::new(&digest::SHA256);
    let mut buffer = vec![0; 64 * 1024];
    let mut size = 0;
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            let sum = HEXLOWER.encode(context.finish().as_ref());
            return Ok((size, sum));
        }
        context.update(&buffer[..count]);
        to.write_all(&buffer[..count])?;
        size += count as u64;
    }
}
