"""`leeway traffic`: realistic requests at a rate, late answers or not."""
