"""States to publish: message waiting, busy lamps, presence."""

from dataclasses import dataclass


@dataclass
class State:
    event: str
    content_type: str
    body: str


def mwi(new, old=0, account="sip:voicemail@lab"):
    """Message waiting: so many new and old voice messages."""
    return State("message-summary", "application/simple-message-summary",
                 "Messages-Waiting: %s\r\nMessage-Account: %s\r\n"
                 "Voice-Message: %d/%d (0/0)\r\n"
                 % ("yes" if new else "no", account, new, old))


def dialog(user, state, domain="pbx.example.com", version=0):
    """Busy lamp of a user: "trying", "early", "confirmed", "terminated"."""
    entity = "sip:%s@%s" % (user, domain)
    return State(
        "dialog", "application/dialog-info+xml",
        '<?xml version="1.0"?>\n<dialog-info xmlns="urn:ietf:params:xml:ns:'
        'dialog-info" version="%d" state="full" entity="%s">\n'
        '<dialog id="d1" call-id="c-%s" direction="initiator"><state>%s'
        '</state></dialog>\n</dialog-info>\n'
        % (version, entity, user, state))


def presence(user, basic="open", note="", domain="pbx.example.com"):
    """Presence of a user: "open" or "closed", with a note."""
    return State(
        "presence", "application/pidf+xml",
        '<?xml version="1.0"?>\n<presence xmlns="urn:ietf:params:xml:ns:'
        'pidf" entity="sip:%s@%s"><tuple id="t1"><status><basic>%s</basic>'
        '</status>%s</tuple></presence>\n'
        % (user, domain, basic,
           "<note>%s</note>" % note if note else ""))
