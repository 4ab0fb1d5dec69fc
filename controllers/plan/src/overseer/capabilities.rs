//! What a file calls for, by its name: `figures.xlsx` wants something that knows spreadsheets.

use a8s_crds::Attachment;

/// Endings and the capabilities that such a file calls for.
const ENDINGS: &[(&[&str], &[&str])] = &[
    (&["xlsx", "xls", "ods"], &["spreadsheet", "data"]),
    (&["csv", "tsv", "json", "parquet"], &["data", "spreadsheet"]),
    (&["docx", "doc", "odt", "rtf"], &["document"]),
    (&["pptx", "ppt", "odp"], &["presentation"]),
    (&["pdf"], &["pdf", "document"]),
    (&["png", "jpg", "jpeg", "gif", "webp", "svg"], &["image"]),
    (&["html", "htm", "css"], &["web"]),
    (&["rs", "py", "js", "ts", "go", "java", "c", "cpp", "sh", "toml", "patch", "diff"], &["code"]),
    (&["md", "txt", "log"], &["text"]),
    (&["zip", "tar", "gz", "tgz", "7z"], &["archive"]),
    (&["mp3", "wav", "ogg", "flac"], &["audio"]),
    (&["mp4", "webm", "mkv", "mov"], &["video"]),
];

/// What a file of this name calls for; nothing if its ending is not known.
pub fn of_file(name: &str) -> &'static [&'static str] {
    let Some((_, ending)) = name.rsplit_once('.') else { return &[] };
    let ending = ending.to_lowercase();
    ENDINGS.iter().find(|(endings, _)| endings.contains(&ending.as_str())).map_or(&[], |(_, calls)| calls)
}

/// What these files call for together, each once. A Connection is no file.
pub fn of_attachments<'a>(attachments: impl IntoIterator<Item = &'a Attachment>) -> Vec<&'static str> {
    let files = attachments.into_iter().filter(|a| a.connection.is_none());
    let mut all: Vec<&str> = files.flat_map(|a| of_file(&a.name)).copied().collect();
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_ending_says_what_it_calls_for() {
        assert_eq!(of_file("Figures.XLSX"), ["spreadsheet", "data"]);
        assert_eq!(of_file("README"), [""; 0]);
        assert_eq!(of_file("x.unheard-of"), [""; 0]);
    }
}
