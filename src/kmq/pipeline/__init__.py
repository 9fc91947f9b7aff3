"""How the stages are put together. The pipeline trusts its arguments and knows no caller."""
