//! The project's own files, for tests that read them.

use std::path::{Path, PathBuf};

/// The top folder of the workspace.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("the workspace is the parent of tests/").to_owned()
}

/// One text file of the project.
#[derive(Debug, Clone)]
pub struct File {
    /// From the top folder, with forward slashes.
    pub path: String,
    /// Its whole text.
    pub text: String,
}

impl File {
    /// A file that exists only in a test: the planted violation every guard is shown.
    pub fn planted(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    /// Its name without folder and ending.
    pub fn stem(&self) -> &str {
        let name = self.path.rsplit('/').next().expect("a name");
        name.split('.').next().expect("a stem")
    }

    /// The product code: what stands before a trailing `#[cfg(test)] mod …` block, with comments taken out, each with the
    /// number of its line. A file of tests (`tests.rs`, `tests/`) has none.
    pub fn product_lines(&self) -> Vec<(usize, String)> {
        if is_test_path(&self.path) {
            return Vec::new();
        }
        let lines: Vec<&str> = self.text.lines().collect();
        let mut end = lines.len();
        for (index, line) in lines.iter().enumerate() {
            let next = lines.get(index + 1).map_or("", |next| next.trim_start());
            if line.trim() == "#[cfg(test)]" && next.starts_with("mod ") && next.trim_end().ends_with('{') {
                end = index;
                break;
            }
        }
        let mut product = Vec::new();
        for (index, line) in lines[..end].iter().enumerate() {
            let code = without_comment(line);
            if !code.trim().is_empty() {
                product.push((index + 1, code.to_owned()));
            }
        }
        product
    }
}

/// Whether a path holds tests and nothing else.
pub fn is_test_path(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/") || path.starts_with("tests/")
}

/// Every file of the project whose name ends so, in the order of their paths. Build output and what git does not track by
/// rule (`target`, dot folders other than `.ci`) are left out.
pub fn files(ending: &str) -> Vec<File> {
    let root = root();
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a readable folder") {
            let path = entry.expect("a readable entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            if path.is_dir() {
                let hidden = name.starts_with('.') && name != ".ci";
                if !hidden && !["target", "data", "__pycache__"].contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if name.ends_with(ending)
                && let Ok(text) = std::fs::read_to_string(&path)
            {
                let path = path.strip_prefix(&root).expect("inside the root");
                found.push(File { path: path.to_string_lossy().replace('\\', "/"), text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// The line up to a `//` that starts a comment. Inside a string `//` is taken for text (`"http://…"`).
fn without_comment(line: &str) -> &str {
    let mut in_string = false;
    let mut previous = ' ';
    for (at, character) in line.char_indices() {
        match character {
            '"' if previous != '\\' && previous != '\'' => in_string = !in_string,
            '/' if previous == '/' && !in_string => return &line[..at - 1],
            _ => {}
        }
        previous = character;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn product_lines_leave_out_comments_and_tests() {
        let file = File::planted(
            "storage/src/x.rs",
            "//! Head.\nuse a::b; // why\nlet u = \"http://x\";\n\n#[cfg(test)]\nmod tests {\n    fn f() {}\n}\n",
        );
        assert_eq!(
            file.product_lines(),
            vec![(2, "use a::b; ".to_owned()), (3, "let u = \"http://x\";".to_owned())]
        );
        assert_eq!(file.stem(), "x");
    }

    #[test]
    fn the_projects_files_are_found() {
        let files = files(".rs");
        assert!(files.iter().any(|file| file.path == "tests/src/source.rs"));
        assert!(files.iter().any(|file| file.path == "storage/record/src/lib.rs"));
        assert!(files.iter().all(|file| !file.path.starts_with("target/")));
    }
}
