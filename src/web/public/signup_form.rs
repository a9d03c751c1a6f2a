//! The sign-up form as pages show it: empty, or with what was typed and what is wrong with it.

use serde::Serialize;

/// The form and everything beside it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SignupForm {
    /// Where it posts to.
    pub action: String,
    /// What was typed as the address.
    pub email: String,
    /// The newsletters to choose from; empty where the path names one.
    pub newsletters: Vec<Choice>,
    /// The slug of the chosen one; may be empty.
    pub newsletter: String,
    /// How often mails come, as a sentence; empty where no newsletter is chosen yet.
    pub rhythm: String,
    /// Fields that have no place on the page and are sent again as they came.
    pub kept: Vec<Kept>,
    /// What must be corrected, in the order of the fields.
    pub errors: Vec<Fault>,
    /// The words beside the address.
    pub email_error: Option<String>,
    /// The words beside the newsletters.
    pub newsletter_error: Option<String>,
}

/// One newsletter to choose.
#[derive(Debug, Clone, Serialize)]
pub struct Choice {
    /// Its slug.
    pub slug: String,
    /// Its name.
    pub name: String,
}

/// A field that is sent again as it came.
#[derive(Debug, Clone, Serialize)]
pub struct Kept {
    /// Its name.
    pub name: &'static str,
    /// Its value.
    pub value: String,
}

/// One line of the summary.
#[derive(Debug, Clone, Serialize)]
pub struct Fault {
    /// The field it leads to: `email` or `newsletter`.
    pub field: &'static str,
    /// The words that stand beside the field too.
    pub message: String,
}

impl SignupForm {
    /// Adds what is wrong with `field`, to the summary and beside the field. Faults of fields that the page does not
    /// show stand beside the address.
    #[must_use]
    pub fn with_fault(mut self, field: &str, message: String) -> Self {
        let (field, beside) = match field {
            "newsletter" => ("newsletter", &mut self.newsletter_error),
            _ => ("email", &mut self.email_error),
        };
        beside.get_or_insert_with(|| message.clone());
        self.errors.push(Fault { field, message });
        self
    }
}
