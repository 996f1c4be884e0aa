/* quiet.c - prints nothing. */
int main(void)
{
	return 0;
}
