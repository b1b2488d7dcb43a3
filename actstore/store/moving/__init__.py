"""Moving data: copies, merges, the Hugging Face hub, and dropping what is no longer wanted."""
