//! The templates of all mails, compiled at start: a broken one stops the start, not the send.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use css_inline::CSSInliner;
use serde::Serialize;
use tera::{Context, Tera};

use super::{clean, wrap};
use crate::texts::Texts;

#[derive(rust_embed::RustEmbed)]
#[folder = "email_templates/"]
struct Files;

/// The largest subject, text or HTML that is rendered.
const OUTPUT_BYTES: usize = 2_000_000;
/// The deepest nesting of elements that is rendered: inlining recurses, and a deep tree would end the process.
const OPEN_ELEMENTS: usize = 256;

/// Which mail is rendered. Each has a folder with `subject.txt`, `body.txt` and `body.html`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailKind {
    /// Asks whether a sign-up was meant.
    Confirmation,
    /// Greets after the confirmation.
    Welcome,
    /// Tells somebody who signs up again where their page is.
    ManageLink,
    /// An issue.
    Digest,
}

impl MailKind {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Confirmation,
        Self::Welcome,
        Self::ManageLink,
        Self::Digest,
    ];

    /// The folder of its templates.
    pub const fn folder(self) -> &'static str {
        match self {
            Self::Confirmation => "confirmation",
            Self::Welcome => "welcome",
            Self::ManageLink => "manage_link",
            Self::Digest => "digest",
        }
    }
}

/// A mail as written, before it is encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// One plain line.
    pub subject: String,
    /// The text part: lines end with `\n` and are wrapped.
    pub text: String,
    /// The HTML part, styles inlined.
    pub html: String,
}

/// The compiled templates. Cheap to share, and the same for every mail.
pub struct Templates {
    tera: Tera,
    texts: Arc<Texts>,
}

/// Why the templates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TemplatesError {
    /// A template does not compile, or asks for another that is not there.
    #[error("the mail templates do not compile: {0}")]
    Compile(String),
    /// A file of the operator's folder cannot be read.
    #[error("cannot read the mail template {}", .0.display())]
    Read(PathBuf, #[source] std::io::Error),
}

/// Why a mail cannot be rendered. Rendering again gives the same.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The template and its values do not fit, or the output is too large.
    #[error("template {name}: {why}")]
    Template {
        /// Which template.
        name: String,
        /// What the engine said.
        why: String,
    },
    /// Elements are nested deeper than is safe.
    #[error("the HTML of mail {0} is nested deeper than {OPEN_ELEMENTS} elements")]
    TooDeep(&'static str),
    /// A link or picture is neither http, https nor mailto.
    #[error("the HTML of mail {mail} has a link of a kind that mails may not have: {link}")]
    Link {
        /// The mail's folder.
        mail: &'static str,
        /// The start of the link.
        link: String,
    },
    /// The style sheet cannot be inlined.
    #[error("the styles of mail {0} cannot be inlined: {1}")]
    Styles(&'static str, String),
}

impl Templates {
    /// Compiles the templates inside the program, each replaced by the file of the same name in `folder` if it is
    /// there; files of the folder with other names can be included.
    pub fn load(folder: Option<&Path>, texts: Arc<Texts>) -> Result<Self, TemplatesError> {
        let mut sources: Vec<(String, String)> = Vec::new();
        for name in Files::iter() {
            let bytes = Files::get(&name).map(|file| file.data.into_owned());
            let source = String::from_utf8(bytes.unwrap_or_default())
                .map_err(|_| TemplatesError::Compile(format!("{name} is not UTF-8")))?;
            sources.push((name.into_owned(), source));
        }
        if let Some(folder) = folder {
            add_folder(folder, Path::new(""), &mut sources)?;
        }
        let mut tera = Tera::default();
        // Escaping follows these suffixes; every template of ours ends in `.html` or `.txt`.
        tera.autoescape_on(vec![".html"]);
        texts.register(&mut tera);
        tera.add_raw_templates(sources)
            .map_err(|error| TemplatesError::Compile(error.to_string()))?;
        Ok(Self { tera, texts })
    }

    /// Renders `kind` with its context (see `mail::context`) in the language of `locale`.
    ///
    /// The same values give the same bytes. Takes tens of microseconds to a millisecond.
    pub fn render<C: Serialize>(
        &self,
        kind: MailKind,
        context: &C,
        locale: &str,
    ) -> Result<Rendered, RenderError> {
        let folder = kind.folder();
        let mut context =
            Context::from_serialize(context).map_err(|error| fault(folder, &error))?;
        let language = self.texts.language_for(locale);
        let direction = self.texts.get(language, "direction", &[]);
        let right_to_left = direction == "rtl";
        context.insert("locale", language);
        context.insert("direction", &direction);
        context.insert("start", if right_to_left { "right" } else { "left" });
        context.insert("end", if right_to_left { "left" } else { "right" });

        let subject = clean::subject(&self.one(&format!("{folder}/subject.txt"), &context)?);
        context.insert("subject", &subject);
        let text = wrap::wrapped(&self.one(&format!("{folder}/body.txt"), &context)?);
        let html = self.one(&format!("{folder}/body.html"), &context)?;
        let html = inlined(folder, &html)?;
        Ok(Rendered {
            subject,
            text,
            html,
        })
    }

    /// The texts these templates use.
    pub fn texts(&self) -> &Arc<Texts> {
        &self.texts
    }

    fn one(&self, name: &str, context: &Context) -> Result<String, RenderError> {
        let mut output = Capped(Vec::new());
        self.tera
            .render_to(name, context, &mut output)
            .map_err(|error| fault(name, &error))?;
        String::from_utf8(output.0).map_err(|error| RenderError::Template {
            name: name.to_owned(),
            why: error.to_string(),
        })
    }
}

impl std::fmt::Debug for Templates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Templates").finish_non_exhaustive()
    }
}

fn fault(name: &str, error: &tera::Error) -> RenderError {
    RenderError::Template {
        name: name.to_owned(),
        why: error.to_string(),
    }
}

/// Adds what the operator's folder has; a template with a known name replaces ours.
fn add_folder(
    root: &Path,
    below: &Path,
    sources: &mut Vec<(String, String)>,
) -> Result<(), TemplatesError> {
    let folder = root.join(below);
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |error| TemplatesError::Read(path, error)
    };
    let entries = std::fs::read_dir(&folder).map_err(unreadable(&folder))?;
    for entry in entries {
        let path = entry.map_err(unreadable(&folder))?.path();
        let Some(name) = path.file_name().map(|name| below.join(name)) else {
            continue;
        };
        if path.is_dir() {
            add_folder(root, &name, sources)?;
        } else if path
            .extension()
            .is_some_and(|it| it == "html" || it == "txt")
        {
            let source = std::fs::read_to_string(&path).map_err(unreadable(&path))?;
            let name = name.to_string_lossy().replace('\\', "/");
            sources.retain(|(known, _)| *known != name);
            sources.push((name, source));
        }
    }
    Ok(())
}

/// The HTML with its first style sheet in `style` attributes, after the checks that make that safe.
fn inlined(mail: &'static str, html: &str) -> Result<String, RenderError> {
    if deepest(html) > OPEN_ELEMENTS {
        return Err(RenderError::TooDeep(mail));
    }
    if let Some(link) = forbidden_link(html) {
        let link = link.chars().take(40).collect();
        return Err(RenderError::Link { mail, link });
    }
    let inliner = CSSInliner::options()
        .keep_at_rules(true)
        .load_remote_stylesheets(false)
        .minify_css(true)
        .build();
    inliner
        .inline(html)
        .map_err(|error| RenderError::Styles(mail, error.to_string()))
}

/// The largest number of elements open at once, counted generously: void elements count until their parent ends.
fn deepest(html: &str) -> usize {
    const VOID: [&str; 6] = ["<br", "<img", "<meta", "<hr", "<link", "<input"];
    let (mut open, mut most) = (0usize, 0usize);
    for (at, _) in html.match_indices('<') {
        let tag = &html[at..];
        if tag.starts_with("</") {
            open = open.saturating_sub(1);
        } else if !tag.starts_with("<!") && !VOID.iter().any(|void| tag.starts_with(void)) {
            open += 1;
            most = most.max(open);
        }
    }
    most
}

/// The first value of `href` or `src` that is not an absolute link of a kind mails may have.
fn forbidden_link(html: &str) -> Option<&str> {
    let values = ["href=\"", "src=\""].into_iter().flat_map(|attribute| {
        let rest = html.split(attribute).skip(1);
        rest.filter_map(|rest| rest.split('"').next())
    });
    let mut values = values.filter(|link| {
        let allowed = ["https://", "http://", "mailto:"];
        !allowed.iter().any(|scheme| link.starts_with(scheme))
    });
    values.next()
}

/// Collects output up to [`OUTPUT_BYTES`].
struct Capped(Vec<u8>);

impl Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > OUTPUT_BYTES {
            return Err(std::io::Error::other("the mail is larger than 2 MB"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;
