//! Packs the files of the page for the leader: names that tell the contents, and both compressed forms of each file.
//!
//! The leader embeds only these forms, which are smaller together than the plain one.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use flate2::Compression;
use flate2::write::GzEncoder;
use xxhash_rust::xxh3::xxh3_64;

use crate::dist;

/// The file that browsers ask for by its own name. It names the others.
const INDEX: &str = "index.html";

/// How large a file is, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) name: String,
    pub(crate) raw: usize,
    pub(crate) brotli: usize,
    pub(crate) gzip: usize,
}

/// How much effort compression is worth.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    /// For developers, who wait.
    Quick,
    /// For readers of the page, who wait too.
    Best,
}

/// Replaces the files of `folder` by their packed forms.
pub(crate) fn pack(folder: &Path, effort: Effort) -> Result<Vec<Sizes>> {
    let mut files = BTreeMap::new();
    for (relative, path) in dist::files(folder)? {
        let content = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        let name = relative.to_str().context("the name of a file of the page is not UTF-8")?;
        files.insert(name.to_owned(), content);
    }
    let mut sizes = Vec::new();
    for (name, content) in name_by_content(files)? {
        let forms = [("br", brotli as fn(&[u8], Effort) -> Result<Vec<u8>>), ("gz", gzip)];
        let mut lengths = [0; 2];
        for (length, (ending, compress)) in lengths.iter_mut().zip(forms) {
            let bytes = compress(&content, effort)?;
            *length = bytes.len();
            let to = folder.join(format!("{name}.{ending}"));
            fs::write(&to, bytes).with_context(|| format!("cannot write {}", to.display()))?;
        }
        sizes.push(Sizes { name, raw: content.len(), brotli: lengths[0], gzip: lengths[1] });
    }
    Ok(sizes)
}

/// How large the packed files in a folder are.
pub(crate) fn sizes(packed: &Path) -> Result<Vec<Sizes>> {
    let mut sizes = Vec::new();
    for (relative, path) in dist::files(packed)? {
        let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
        let Some(name) = relative.to_str().and_then(|name| name.strip_suffix(".gz")) else { continue };
        let gzip = read(&path)?;
        // The length of the contents ends each file of this form.
        let raw = gzip.last_chunk().map_or(0, |length| u32::from_le_bytes(*length) as usize);
        let brotli = read(&path.with_extension("br"))?.len();
        sizes.push(Sizes { name: name.to_owned(), raw, brotli, gzip: gzip.len() });
    }
    Ok(sizes)
}

/// Renames each file but the index to `stem.HASH.ending`, and changes the names in the files that name it.
fn name_by_content(mut files: BTreeMap<String, Vec<u8>>) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut named = BTreeMap::new();
    while !files.is_empty() {
        // A file gets its name after those that it names.
        let ready = files.iter().find(|(_, content)| !files.keys().any(|other| names(content, other)));
        let Some((name, _)) = ready else {
            bail!("these files of the page name each other in a circle: {:?}", files.keys());
        };
        let name = name.clone();
        let content = files.remove(&name).unwrap_or_default();
        let new = if name == INDEX { name.clone() } else { hashed(&name, &content) };
        for other in files.values_mut().filter(|other| names(other, &name)) {
            let mut text = String::from_utf8_lossy(other).into_owned();
            for (before, after) in MENTIONS {
                text = text.replace(&format!("{before}{name}{after}"), &format!("{before}{new}{after}"));
            }
            *other = text.into_bytes();
        }
        named.insert(new, content);
    }
    Ok(named)
}

/// What stands around the name of a file where another one names it.
const MENTIONS: [(&str, &str); 5] = [("\"", "\""), ("'", "'"), ("\"./", "\""), ("'./", "'"), ("url(", ")")];

/// Whether a text names a file. What is not text names nothing.
fn names(content: &[u8], name: &str) -> bool {
    let Ok(text) = std::str::from_utf8(content) else { return false };
    MENTIONS.iter().any(|(before, after)| text.contains(&format!("{before}{name}{after}")))
}

fn hashed(name: &str, content: &[u8]) -> String {
    let hash = xxh3_64(content);
    match name.rsplit_once('.') {
        Some((stem, ending)) => format!("{stem}.{hash:016x}.{ending}"),
        None => format!("{name}.{hash:016x}"),
    }
}

fn brotli(content: &[u8], effort: Effort) -> Result<Vec<u8>> {
    let quality = if effort == Effort::Best { 11 } else { 4 };
    let mut bytes = Vec::new();
    // The largest window that all browsers know.
    let params =
        brotli::enc::BrotliEncoderParams { quality, lgwin: 24, size_hint: content.len(), ..Default::default() };
    brotli::BrotliCompress(&mut &*content, &mut bytes, &params).context("cannot compress with brotli")?;
    Ok(bytes)
}

fn gzip(content: &[u8], effort: Effort) -> Result<Vec<u8>> {
    let level = if effort == Effort::Best { Compression::best() } else { Compression::fast() };
    let mut encoder = GzEncoder::new(Vec::new(), level);
    encoder.write_all(content).and_then(|()| encoder.finish()).context("cannot compress with gzip")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(files: &[(&str, &str)]) -> BTreeMap<String, String> {
        let files = files.iter().map(|(name, content)| ((*name).to_owned(), content.as_bytes().to_vec())).collect();
        let named = name_by_content(files).unwrap().into_iter();
        named.map(|(name, content)| (name, String::from_utf8(content).unwrap())).collect()
    }

    fn new_name(files: &BTreeMap<String, String>, stem: &str) -> String {
        files.keys().find(|name| name.starts_with(stem)).unwrap().clone()
    }

    const PAGE: [(&str, &str); 4] = [
        ("app.js", "await import('./web.js'); init('./web_bg.wasm'); say('web.js is missing')"),
        ("index.html", r#"<script src="app.js"></script> <link href="web.js" />"#),
        ("web.js", "export default 1"),
        ("web_bg.wasm", "wasm"),
    ];

    #[test]
    fn files_name_each_other_by_their_new_names() {
        let files = named(&PAGE);
        let [app, js, wasm] = ["app.", "web.", "web_bg."].map(|stem| new_name(&files, stem));
        assert_eq!(files[&app], format!("await import('./{js}'); init('./{wasm}'); say('web.js is missing')"));
        assert_eq!(files[INDEX], format!(r#"<script src="{app}"></script> <link href="{js}" />"#));
        assert_eq!(files[&wasm], "wasm");
        let parts: Vec<&str> = js.split('.').collect();
        assert_eq!((parts[0], parts[1].len(), parts[2]), ("web", 16, "js"));
    }

    #[test]
    fn a_name_changes_with_the_contents_and_with_what_they_name() {
        let before = named(&PAGE);
        let mut page = PAGE;
        page[3].1 = "other wasm";
        let after = named(&page);
        for (stem, changed) in [("web_bg.", true), ("app.", true), ("web.", false), (INDEX, false)] {
            assert_eq!(new_name(&before, stem) != new_name(&after, stem), changed, "{stem}");
        }
    }

    #[test]
    fn files_that_name_each_other_are_refused() {
        let files = [("a.js", "'b.js'"), ("b.js", "'a.js'")];
        let files = files.map(|(name, content)| (name.to_owned(), content.as_bytes().to_vec()));
        assert!(name_by_content(files.into()).unwrap_err().to_string().contains("a.js"));
    }

    #[test]
    fn each_form_holds_the_contents() {
        let folder = tempfile::tempdir().unwrap();
        let content = "the same again and again ".repeat(100);
        fs::write(folder.path().join("a.txt"), &content).unwrap();
        let sizes = pack(folder.path(), Effort::Best).unwrap();
        let name = &sizes[0].name;
        assert_eq!((sizes.len(), sizes[0].raw), (1, content.len()));
        let read = |ending: &str| fs::read(folder.path().join(format!("{name}.{ending}"))).unwrap();
        let mut plain = Vec::new();
        brotli::BrotliDecompress(&mut &*read("br"), &mut plain).unwrap();
        assert_eq!(plain, content.as_bytes());
        let mut plain = String::new();
        std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&*read("gz")), &mut plain).unwrap();
        assert_eq!(plain, content);
        assert_eq!((read("br").len(), read("gz").len()), (sizes[0].brotli, sizes[0].gzip));
        assert!(!folder.path().join("a.txt").exists());
        assert_eq!(super::sizes(folder.path()).unwrap(), sizes);
    }
}
