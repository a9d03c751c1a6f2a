//! Rebuilds when something that is embedded in the binary changes.

fn main() {
    for folder in ["migrations", "email_templates", "page_templates", "locales"] {
        println!("cargo:rerun-if-changed={folder}");
    }
}
