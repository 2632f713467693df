"""Where clips come from: folders, archives, the official download and a synthetic corpus. No torch in here."""
