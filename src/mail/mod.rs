//! The bytes of a mail: headers, MIME, templates, slots.
