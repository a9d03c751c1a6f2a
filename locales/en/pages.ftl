# Texts of the reader's pages. Plain words, short sentences, no exclamation marks.

page-contact = Questions? Write to
page-privacy = No cookies and no tracking on this page.

rhythm-immediate = A mail for each new article.
rhythm-daily = At most one mail a day.
rhythm-weekly = One mail a week.
rhythm-monthly = One mail a month.

index-title = Newsletters
index-lead = Choose one. It comes by mail, and it stops the day you say so.
index-empty = There is nothing to subscribe to yet. Please come back soon.

subscribe-title = Subscribe to { $name }
subscribe-any-title = Subscribe

form-email = Email address
form-newsletter = Newsletter
form-honeypot = Leave this empty
form-subscribe = Subscribe
form-note = You confirm by a link we mail you. Unsubscribe in one click, at any time.
form-error-prefix = Error:
form-error-summary = { $count ->
    [one] One thing needs your attention
   *[other] { $count } things need your attention
}

field-email-missing = Please type your email address.
field-email-twice = Please send one email address only.
field-newsletter-missing = Please choose a newsletter.
field-newsletter-unknown = This newsletter does not exist.
field-topic-unknown = One of the chosen topics does not exist.
field-cadence-unknown = Please choose how often: immediate, daily, weekly or monthly.
field-locale-unknown = This is not a language we know.

sent-title = Check your inbox
sent-lead = We are sending you a mail with a link. Open it, press the button, and { $name } is yours.
sent-from = The mail comes from
sent-spam = Not there after a few minutes? Look in the spam or promotions folder.
sent-expiry = { $hours ->
    [one] The link works for one hour.
   *[other] The link works for { $hours } hours.
}
sent-known = If you are subscribed already, the mail tells you so.
sent-again-title = A typo in the address?
sent-again = Type it once more. Only the owner of an address can confirm it.

confirm-title = One last step
confirm-lead = Press the button to confirm that you want to receive { $name }.
confirm-what = Newsletter
confirm-topics = { $count ->
    [one] Topic
   *[other] Topics
}
confirm-rhythm = How often
confirm-from = Sender
confirm-to = Sent to
confirm-button = Yes, send me { $name }
confirm-not-you = You did not ask for this? Close this page. Without the button nothing is sent.

confirmed-title = You are in
confirmed-lead = Thank you. You are now subscribed to { $name }.
confirmed-first = The first mail can come
confirmed-contacts = So that nothing is lost in a spam folder, add this sender to your contacts:
confirmed-leave = Every mail has a link that unsubscribes you at once.

already-title = Already confirmed
already-lead = This link has done its work before. Nothing has changed.
already-ended = You have left since and would like to come back?

gone-title = This link no longer works
gone-lead = { $hours ->
    [one] A confirmation link works for one hour, and only if it was copied whole.
   *[other] A confirmation link works for { $hours } hours, and only if it was copied whole.
}
gone-again = Type your address and we send you a fresh one.

leave-title = Unsubscribe from { $name }?
leave-lead = Press the button, and { $name } sends nothing more to { $address }.
leave-button = Unsubscribe
leave-note = It works at once. No questions, no mail to confirm it.

left-title = You are out
left-lead = Nothing more will be sent to you.
left-receipt = This page is your receipt; no farewell mail follows.
left-return = Changed your mind?

broken-title = This link is not complete
broken-lead = Mail programs sometimes cut long links in two. Open the mail again and press the link itself, or copy all of it.
broken-help = If that does not help, answer any of the mails with “unsubscribe” and a person will take care of it.

error-home = To the newsletters
error-request-id = If you write to us about this, please name this number:
error-not-found-title = There is nothing here
error-not-found-text = The address may have a typo, or the page has moved.
error-method-not-allowed-title = This page cannot do that
error-method-not-allowed-text = Please go back and use the button on the page.
error-malformed-title = We could not read that
error-malformed-text = What your browser sent was cut or garbled. Please go back and try again.
error-unsupported-type-title = We could not read that
error-unsupported-type-text = The form was sent in a way we do not understand.
error-too-large-title = That was too much
error-too-large-text = The form is bigger than anything we ask for. Please go back and shorten it.
error-too-slow-title = That took too long
error-too-slow-text = The connection was too slow or broke. Please try again.
error-invalid-title = Something needs your attention
error-invalid-text = Please go back and check what you entered.
error-too-many-title = One moment, please
error-too-many-text = There were many requests from your network in a short time. Please try again later.
error-used-up-title = Many people are here right now
error-used-up-text = More sign-ups came in than we can answer at once. Please try again later.
error-not-ready-title = Not at work
error-not-ready-text = A part of this service is not at work right now.
error-unavailable-title = Back in a moment
error-unavailable-text = We cannot save anything right now, so nothing was changed. Please try again in a minute.
error-unauthorized-title = Please sign in
error-unauthorized-text = This needs a valid API token in the Authorization header.
error-forbidden-title = Not allowed
error-forbidden-text = Your token does not cover this.
error-conflict-title = That is being done already
error-conflict-text = The same request came before and is still at work, or came with other contents.
error-internal-title = Our mistake
error-internal-text = Something went wrong on our side. It is noted, and nothing you typed is to blame.

## What is wrong with an address

address-forbidden-character = An email address has no spaces, line breaks or invisible characters.
address-no-at = An email address has an @ sign, as in name@example.org.
address-several-ats = An email address has only one @ sign, as in name@example.org.
address-no-local-part = The part before the @ sign is missing.
address-long-local-part = The part before the @ sign is too long: 64 characters at most.
address-misplaced-dot = A dot stands at the wrong place before the @ sign.
address-local-part-character = There is a character before the @ sign that we cannot send to.
address-needs-smtputf8 = We cannot send to addresses with letters like é or ü before the @ sign. Use your other address, if you have one.
address-no-domain = The part after the @ sign is missing, such as example.org.
address-ip-address = The part after the @ sign must be a name such as example.org, not a number.
address-no-dot = The part after the @ sign is incomplete: it must be a name such as example.org.
address-bad-domain = The part after the @ sign is not a valid domain name.
address-too-long = This email address is too long: 254 characters at most.
address-special-use = Mail cannot be sent to this domain: its name is kept for tests and local use.
address-role = This address belongs to a function, not to a reader. Use a personal address.

## Plain answers

sent-plain = Check your inbox: we are sending a mail with a link to confirm.
left-plain = You are unsubscribed. Nothing more will be sent.
